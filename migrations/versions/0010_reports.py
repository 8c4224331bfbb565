"""reports"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

WITHOUT = sa.text("report_key IS NULL AND finished_at IS NOT NULL AND state <> 'skipped'")


def upgrade() -> None:
    op.add_column("runs", sa.Column("report_key", sa.Text()))
    op.create_index("ix_runs_without_report", "runs", ["id"], postgresql_where=WITHOUT)


def downgrade() -> None:
    op.drop_index("ix_runs_without_report", table_name="runs")
    op.drop_column("runs", "report_key")
