"""traces, and an index for held jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("trace", sa.Text()))
    op.create_index("ix_jobs_held", "jobs", ["code", "standing"], postgresql_where=sa.text("state = 'held'"))


def downgrade() -> None:
    op.drop_index("ix_jobs_held", table_name="jobs")
    op.drop_column("jobs", "trace")
