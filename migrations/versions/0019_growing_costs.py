"""growing costs"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

WITHOUT_RESULTS = "ix_batches_without_results"
RUNNING = "ix_jobs_running"


def upgrade() -> None:
    op.drop_index(WITHOUT_RESULTS, table_name="batches")
    _index("results_key IS NULL AND last_place > 0")
    op.drop_index(RUNNING, table_name="jobs")
    _running("scheduled_at")


def downgrade() -> None:
    op.drop_index(RUNNING, table_name="jobs")
    _running("worker_id")
    op.drop_index(WITHOUT_RESULTS, table_name="batches")
    _index("results_key IS NULL")


def _index(which: str) -> None:
    op.create_index(WITHOUT_RESULTS, "batches", ["id"], postgresql_where=sa.text(which))


def _running(column: str) -> None:
    op.create_index(RUNNING, "jobs", [column], postgresql_where=sa.text("state = 'running'"))
