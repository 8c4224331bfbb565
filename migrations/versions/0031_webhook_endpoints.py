"""Webhook endpoints: addresses of a producer that receive messages about all of its events."""

import re
from pathlib import Path

from alembic import op

from migrations.operations import add_columns, create_index_concurrently, drop_not_null

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

VERSIONS = Path(__file__).parent
SUBJECTS = sorted((VERSIONS / "endpoints").glob("*.sql"))
# Functions that this migration replaces, and the files that have them as they were.
REPLACED = ("initial/7_webhooks.sql", "outputs/3_triggers.sql")


def upgrade() -> None:
    add_columns("deliveries", "endpoint_id uuid")
    add_columns("digests", "endpoint_ids uuid[]")
    # That of a job for endpoints alone has none.
    drop_not_null("digests", "url")
    create_index_concurrently(
        "ix_deliveries_endpoint",
        "deliveries",
        "producer_id, endpoint_id, id",
        where="endpoint_id IS NOT NULL",
    )
    create_index_concurrently(
        "ix_deliveries_endpoint_jobs",
        "deliveries",
        "producer_id, id",
        where="endpoint_id IS NOT NULL AND type LIKE 'job%'",
    )
    for subject in SUBJECTS:
        op.get_bind().exec_driver_sql(subject.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("DROP TRIGGER announce_job_to_endpoints ON jobs")
    op.execute("DROP TRIGGER announce_schedule_pause ON schedules")
    op.execute("DROP TRIGGER announce_skipped_new_runs ON runs")
    op.execute("DROP TRIGGER announce_skipped_runs ON runs")
    for path in REPLACED:
        for statement in _replaced((VERSIONS / path).read_text(encoding="utf-8")):
            op.get_bind().exec_driver_sql(statement)
    # Their secrets are derived from ids that never come again.
    op.execute("DELETE FROM webhook_secrets WHERE owner IN (SELECT id FROM webhook_endpoints)")
    # Signed with the secrets of endpoints, which the version before does not have.
    op.execute("DELETE FROM deliveries WHERE endpoint_id IS NOT NULL")
    op.execute("DELETE FROM digests WHERE url IS NULL")
    op.execute("DROP TABLE webhook_endpoints")
    op.execute(
        "DROP FUNCTION announce_job_to_endpoints, announce_schedule_pause, announce_skipped_runs,"
        " announce_disabled_endpoint, announce_job_event, announce_event, endpoints_for, has_endpoint,"
        " has_digest, wants_event, digest_entry, message_of"
    )
    op.execute("ALTER TABLE deliveries DROP COLUMN endpoint_id")
    op.execute("ALTER TABLE digests DROP COLUMN endpoint_ids, ALTER COLUMN url SET NOT NULL")


def _replaced(subject: str) -> list[str]:
    """The statements of an earlier file that define what this migration replaced."""
    functions = re.findall(r"^CREATE FUNCTION announce_\w+\(\).*?^\$\$;", subject, re.MULTILINE | re.DOTALL)
    triggers = re.findall(
        r"^CREATE TRIGGER announce_(?:batch|rendered_batch) .*?;", subject, re.MULTILINE | re.DOTALL
    )
    return [f"CREATE OR REPLACE{each.removeprefix('CREATE')}" for each in (*functions, *triggers)]
