"""auditor"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("beats", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("workers", sa.Column("carried_jobs", postgresql.ARRAY(sa.Uuid())))
    op.add_column("workers", sa.Column("carried_fences", postgresql.ARRAY(sa.Integer())))
    op.add_column("jobs", sa.Column("claimed_at_beat", sa.Integer()))
    op.create_index(
        "ix_attempts_open", "attempts", ["begun_at"], postgresql_where=sa.text("ended_at IS NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_attempts_open", table_name="attempts")
    op.drop_column("jobs", "claimed_at_beat")
    for name in ("carried_fences", "carried_jobs", "beats"):
        op.drop_column("workers", name)
