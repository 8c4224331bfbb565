"""unexpected results"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("gone_tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("jobs", sa.Column("unexpected", JSONB(), nullable=True))
    op.add_column("jobs", sa.Column("warning", sa.Text(), nullable=True))
    op.add_column("results", sa.Column("warning", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("raw_answer", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "raw_answer")
    op.drop_column("results", "warning")
    op.drop_column("jobs", "warning")
    op.drop_column("jobs", "unexpected")
    op.drop_column("jobs", "gone_tries")
