"""fairness"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
STANDINGS = ["in_line", "handed_out", "serving", "resting", "parked"]
A_DAY = sa.text("(now() + '1 day'::interval)")
# As it was, but for the part that puts a job aside for a digest.
ANNOUNCE_JOB = """
CREATE OR REPLACE FUNCTION announce_job() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    its_data json := json_build_object(
        'id', NEW.id,
        'batch_id', NEW.batch_id,
        'external_id', NEW.external_id,
        'return_form', NEW.return_form,
        'state', NEW.state,
        'code', NEW.code,
        'message', NEW.message,
        'key', NEW.key,
        'sha256', encode(NEW.sha256, 'hex'),
        'media_type', NEW.media_type,
        'size_bytes', NEW.size_bytes,
        'width', NEW.width,
        'height', NEW.height,
        'credits', (SELECT count(*) FROM attempts WHERE job_id = NEW.id AND outcome = 'charged'),
        'created_at', NEW.created_at,
        'finished_at', NEW.finished_at
    );
BEGIN
    {aside}PERFORM announce(NEW.webhook_url, 'job.' || NEW.state, its_data, NEW.producer_id);
    RETURN NULL;
END
$$
"""
ASIDE = """IF EXISTS (
        SELECT FROM batches WHERE batches.id = NEW.batch_id
        AND batches.webhook_jobs = 'digest' AND batches.webhook_url = NEW.webhook_url
    ) THEN
        INSERT INTO digests (batch_id, producer_id, url, job)
        VALUES (NEW.batch_id, NEW.producer_id, NEW.webhook_url, its_data::text);
        RETURN NULL;
    END IF;
    """
WAITS = "standing <> 'waiting' OR waits_for IS NOT NULL"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("waits_for", sa.Uuid()))
    _know(["in_line", "handed_out", "serving", "resting", "waiting", "parked"])
    op.create_check_constraint(op.f("ck_jobs_waits_for_somebody"), "jobs", WAITS)
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["waits_for", "priority", "place"],
        postgresql_where=sa.text("standing = 'waiting'"),
    )

    op.add_column("jobs", sa.Column("deaths", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    for column in _doubts():
        op.add_column("accounts", column)
    op.alter_column("deliveries", "give_up_at", server_default=None, nullable=True)
    op.execute("UPDATE deliveries SET give_up_at = NULL WHERE state = 'waiting' AND tries = 0")
    op.add_column("batches", sa.Column("webhook_jobs", sa.Text(), server_default="none", nullable=False))
    op.create_check_constraint(
        op.f("ck_batches_webhook_jobs_is_known"), "batches", "webhook_jobs IN ('none', 'each', 'digest')"
    )
    op.create_table(
        "digests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("producer_id", sa.Uuid()),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("created_at", WHEN, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digests")),
    )
    op.execute(ANNOUNCE_JOB.format(aside=ASIDE))


def downgrade() -> None:
    op.execute(ANNOUNCE_JOB.format(aside=""))
    # What was put aside is told of one by one.
    op.execute("SELECT announce(url, 'job.' || (job::json ->> 'state'), job::json, producer_id) FROM digests")
    op.drop_table("digests")
    op.drop_column("batches", "webhook_jobs")
    op.execute("UPDATE deliveries SET give_up_at = now() + interval '1 day' WHERE give_up_at IS NULL")
    op.alter_column("deliveries", "give_up_at", server_default=A_DAY, nullable=False)
    for column in _doubts():
        op.drop_column("accounts", column.name)
    op.drop_column("jobs", "deaths")
    op.drop_index("ix_jobs_waiting", table_name="jobs")
    op.drop_constraint(op.f("ck_jobs_waits_for_somebody"), "jobs")
    op.execute("UPDATE jobs SET standing = 'resting', scheduled_at = now() WHERE standing = 'waiting'")
    _know(STANDINGS)
    op.drop_column("jobs", "waits_for")


def _doubts() -> list[sa.Column[Any]]:
    return [
        sa.Column("doubted_job", sa.Uuid()),
        sa.Column("doubted_code", sa.Text()),
        sa.Column("doubted_at", WHEN),
    ]


def _know(standings: list[str]) -> None:
    words = ", ".join(f"'{standing}'" for standing in standings)
    op.drop_constraint(op.f("ck_jobs_standing_is_known"), "jobs")
    op.create_check_constraint(op.f("ck_jobs_standing_is_known"), "jobs", f"standing IN ({words})")
