"""Resources of the API: metadata, the options to be shown, revisions, and the natural key of jobs."""

from migrations.operations import add_columns, create_index_concurrently, drop_columns

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

METADATA = "metadata jsonb"
REVISION = "revision integer NOT NULL DEFAULT 1"


def upgrade() -> None:
    add_columns("jobs", METADATA, "natural_key text")
    add_columns("batches", METADATA, "options jsonb", REVISION, "jobs_moved_at timestamptz")
    add_columns("schedules", METADATA, REVISION)
    create_index_concurrently(
        "uq_jobs_producer_id_natural_key",
        "jobs",
        "producer_id, natural_key",
        where="natural_key IS NOT NULL",
        unique=True,
    )


def downgrade() -> None:
    drop_columns("schedules", "metadata", "revision")
    drop_columns("batches", "metadata", "options", "revision", "jobs_moved_at")
    drop_columns("jobs", "metadata", "natural_key")
