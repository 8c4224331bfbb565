"""Actions of batches that are added and of runs that are skipped; webhook messages found by their job."""

from alembic import op

from migrations.operations import (
    add_check_not_valid,
    add_columns,
    create_index_concurrently,
    drop_columns,
    drop_constraints,
    drop_index_concurrently,
    validate,
)

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

NEW_KINDS = "'add_batch', 'skip_run', 'restore_run'"
KINDS = """
    'cancel', 'retry', 'add_outputs', 'retry_outputs', 'delete', {added}'pause', 'resume', 'approve',
    'budget', 'change_batch', 'cancel_job', 'retry_job', 'release_job', 'accept_job',
    'retry_job_outputs', 'delete_job', 'add_schedule', 'change_schedule', 'pause_schedule',
    'resume_schedule', 'run_schedule', {skipped}'remove_schedule', 'add_endpoint', 'change_endpoint',
    'test_endpoint', 'remove_endpoint', 'rotate_secret', 'show_secret', 'replay_delivery',
    'make_key', 'revoke_key', 'limit_producer', 'suspend_producer', 'resume_producer', 'pause_all',
    'resume_all', 'forget_missing', 'repair', 'erase', 'migrate'
"""
KIND_IS_KNOWN = "ck_actions_kind_is_known"
INDEXES = {
    "ix_deliveries_job": ("((payload::json -> 'data' ->> 'id')), id", "type LIKE 'job.%'"),
    "ix_deliveries_digest": ("((payload::json -> 'data' ->> 'batch_id')), id", "type = 'jobs.digest'"),
}


def upgrade() -> None:
    add_columns("schedules", "skips_at timestamptz")
    _know(KINDS.format(added="'add_batch', ", skipped="'skip_run', 'restore_run', "))
    for name, (columns, where) in INDEXES.items():
        create_index_concurrently(name, "deliveries", columns, where=where)


def _know(kinds: str) -> None:
    drop_constraints("actions", KIND_IS_KNOWN)
    add_check_not_valid("actions", KIND_IS_KNOWN, f"kind IN ({kinds})")
    validate("actions", KIND_IS_KNOWN)


def downgrade() -> None:
    for name in INDEXES:
        drop_index_concurrently(name)
    op.execute(f"DELETE FROM actions WHERE kind IN ({NEW_KINDS})")  # noqa: S608 - a constant
    _know(KINDS.format(added="", skipped=""))
    drop_columns("schedules", "skips_at")
