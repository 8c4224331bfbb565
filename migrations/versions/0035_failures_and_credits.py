"""The failures of a day for the console's first screen, and the credits of ended batches for its lists."""

from migrations.operations import (
    add_columns,
    create_index_concurrently,
    drop_columns,
    drop_index_concurrently,
)

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_columns("batches", "credits integer")
    create_index_concurrently(
        "ix_jobs_failed",
        "jobs",
        "finished_at, id, producer_id, code",
        where="state = 'failed' AND deleted_at IS NULL",
    )


def downgrade() -> None:
    drop_index_concurrently("ix_jobs_failed")
    drop_columns("batches", "credits")
