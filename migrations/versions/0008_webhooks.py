"""webhooks"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("now()")
WAITING = sa.text("state = 'waiting'")
HAS_A_HOST = "{} ~ '^https?://[^/?#]+'"

# Standard Webhooks' payload. The text is kept and signed as it is made here.
ANNOUNCE = """
CREATE FUNCTION announce(url text, kind text, data json, producer_id uuid) RETURNS uuid
LANGUAGE sql AS $$
    INSERT INTO deliveries (producer_id, url, type, payload)
    VALUES (
        announce.producer_id, announce.url, announce.kind,
        json_build_object('type', announce.kind, 'timestamp', now(), 'data', announce.data)::text
    )
    RETURNING id
$$
"""

ANNOUNCE_JOB = """
CREATE FUNCTION announce_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce(
        NEW.webhook_url,
        'job.' || NEW.state,
        json_build_object(
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
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$
"""

# The condition is looked at before any of this is run: a job without a webhook pays nothing for it.
ANNOUNCES_JOBS = """
CREATE TRIGGER announce_job AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (
    NEW.webhook_url IS NOT NULL
    AND NEW.state <> OLD.state
    AND NEW.state IN ('succeeded', 'failed', 'cancelled', 'held')
)
EXECUTE FUNCTION announce_job()
"""

ANNOUNCE_BATCH = """
CREATE FUNCTION announce_batch() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce(
        NEW.webhook_url,
        'batch.finished',
        json_build_object(
            'id', NEW.id,
            'name', NEW.name,
            'counts', (
                SELECT json_object_agg(state, jobs)
                FROM (SELECT state, count(*) AS jobs FROM jobs WHERE batch_id = NEW.id GROUP BY state)
            ),
            'credits', (
                SELECT count(*) FROM attempts JOIN jobs ON jobs.id = attempts.job_id
                WHERE jobs.batch_id = NEW.id AND attempts.outcome = 'charged'
            ),
            'results_key', NEW.results_key,
            'created_at', NEW.created_at,
            'finished_at', (SELECT max(finished_at) FROM jobs WHERE batch_id = NEW.id)
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$
"""

ANNOUNCES_BATCHES = """
CREATE TRIGGER announce_batch AFTER UPDATE OF results_key ON batches FOR EACH ROW
WHEN (NEW.webhook_url IS NOT NULL AND OLD.results_key IS NULL AND NEW.results_key IS NOT NULL)
EXECUTE FUNCTION announce_batch()
"""

# A batch without a job never ends.
ANNOUNCE_INGEST = """
CREATE FUNCTION announce_ingest() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce(
        batches.webhook_url,
        'ingest.failed',
        json_build_object(
            'batch_id', batches.id,
            'name', batches.name,
            'error', NEW.error,
            'records', NEW.records,
            'pictures', NEW.pictures,
            'jobs', NEW.jobs,
            'rejects', NEW.rejects,
            'duplicates', NEW.duplicates,
            'finished_at', NEW.finished_at
        ),
        batches.producer_id
    )
    FROM batches WHERE batches.id = NEW.batch_id AND batches.webhook_url IS NOT NULL;
    RETURN NULL;
END
$$
"""

ANNOUNCES_INGESTS = """
CREATE TRIGGER announce_ingest AFTER UPDATE OF finished_at ON ingests FOR EACH ROW
WHEN (
    OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND (NEW.error IS NOT NULL OR NEW.jobs = 0)
)
EXECUTE FUNCTION announce_ingest()
"""

STATEMENTS = (
    ANNOUNCE,
    ANNOUNCE_JOB,
    ANNOUNCES_JOBS,
    ANNOUNCE_BATCH,
    ANNOUNCES_BATCHES,
    ANNOUNCE_INGEST,
    ANNOUNCES_INGESTS,
)


def upgrade() -> None:
    for table in ("jobs", "batches"):
        op.add_column(table, sa.Column("webhook_url", sa.Text()))
        op.create_check_constraint(
            op.f(f"ck_{table}_webhook_url_has_a_host"), table, HAS_A_HOST.format("webhook_url")
        )
    _create_deliveries()
    op.create_table(
        "webhook_secrets",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("overlap_until", WHEN),
        sa.CheckConstraint("version > 1", name=op.f("ck_webhook_secrets_the_first_needs_no_row")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_webhook_secrets")),
    )
    for statement in STATEMENTS:
        op.execute(statement)


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("producer_id", sa.Uuid()),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column(
            "host",
            sa.Text(),
            sa.Computed("lower(\"substring\"(url, '://([^/?#]+)'::text))", persisted=True),
            nullable=False,
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("give_up_at", WHEN, server_default=sa.text("(now() + '1 day'::interval)"), nullable=False),
        sa.Column("last_status", sa.SmallInteger()),
        sa.Column("last_error", sa.Text()),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("finished_at", WHEN),
        sa.CheckConstraint(HAS_A_HOST.format("url"), name=op.f("ck_deliveries_url_has_a_host")),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'given_up')", name=op.f("ck_deliveries_state_is_known")
        ),
        sa.CheckConstraint(
            "(state = 'waiting') = (finished_at IS NULL)",
            name=op.f("ck_deliveries_waiting_if_and_only_if_not_finished"),
        ),
        sa.CheckConstraint(
            "state <> 'given_up' OR last_error IS NOT NULL", name=op.f("ck_deliveries_given_up_says_why")
        ),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_deliveries_tries_are_not_negative")),
        sa.ForeignKeyConstraint(["producer_id"], ["producers.id"], name=op.f("fk_deliveries_producer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["host", "due_at"], postgresql_where=WAITING)
    op.create_index("ix_deliveries_give_up_at", "deliveries", ["give_up_at"], postgresql_where=WAITING)
    op.create_index(
        "ix_deliveries_finished_at",
        "deliveries",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("ix_deliveries_producer_id_id", "deliveries", ["producer_id", "id"])
    op.create_index(
        "ix_deliveries_undelivered",
        "deliveries",
        ["producer_id", "id"],
        postgresql_where=sa.text("state <> 'delivered'"),
    )


def downgrade() -> None:
    for table, name in (("ingests", "ingest"), ("batches", "batch"), ("jobs", "job")):
        op.execute(f"DROP TRIGGER announce_{name} ON {table}")
        op.execute(f"DROP FUNCTION announce_{name}()")
    op.execute("DROP FUNCTION announce(text, text, json, uuid)")
    op.drop_table("webhook_secrets")
    op.drop_table("deliveries")
    for table in ("batches", "jobs"):
        op.drop_column(table, "webhook_url")
