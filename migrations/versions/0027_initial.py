"""The initial schema: one file of SQL for each subject, in the order of their dependencies.

Its number follows those of the migrations before the first release, so that their databases are told apart.
"""

from pathlib import Path

from alembic import op

revision = "0027"
down_revision = None
branch_labels = None
depends_on = None

SUBJECTS = sorted((Path(__file__).parent / "initial").glob("*.sql"))


def upgrade() -> None:
    for subject in SUBJECTS:
        op.get_bind().exec_driver_sql(subject.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("DROP FUNCTION announce_job, announce_ingest, announce_batch, announce CASCADE")
    op.execute(f"DROP TABLE {', '.join(_tables())} CASCADE")


def _tables() -> list[str]:
    lines = [line for subject in SUBJECTS for line in subject.read_text(encoding="utf-8").splitlines()]
    return [line.split()[2] for line in lines if line.startswith("CREATE TABLE ")]
