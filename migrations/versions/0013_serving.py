"""serving"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STANDING = "ck_jobs_standing_is_known"


def upgrade() -> None:
    _change(["in_line", "handed_out", "serving", "resting", "parked"], ["handed_out", "serving", "resting"])


def downgrade() -> None:
    op.execute("UPDATE jobs SET standing = 'in_line' WHERE standing = 'serving'")
    _change(["in_line", "handed_out", "resting", "parked"], ["handed_out", "resting"])


def _change(known: list[str], due: list[str]) -> None:
    op.drop_constraint(op.f(STANDING), "jobs", type_="check")
    op.create_check_constraint(op.f(STANDING), "jobs", f"standing IN ({_words(known)})")
    op.drop_index("ix_jobs_due", table_name="jobs")
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["standing", "scheduled_at"],
        postgresql_where=sa.text(f"standing IN ({_words(due)})"),
    )


def _words(standings: list[str]) -> str:
    return ", ".join(f"'{standing}'" for standing in standings)
