"""Operators: keys that belong to no producer; actions of all kinds with who asked for them; quotes."""

from alembic import op

from migrations.operations import (
    add_check_not_valid,
    add_columns,
    create_index_concurrently,
    drop_constraints,
    drop_not_null,
    validate,
)

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

CARRIED_OUT = "kind IN ('cancel', 'retry', 'add_outputs', 'retry_outputs', 'delete')"
KINDS = """kind IN (
    'cancel', 'retry', 'add_outputs', 'retry_outputs', 'delete', 'pause', 'resume', 'approve',
    'budget', 'change_batch', 'cancel_job', 'retry_job', 'release_job', 'accept_job',
    'retry_job_outputs', 'delete_job', 'add_schedule', 'change_schedule', 'pause_schedule',
    'resume_schedule', 'run_schedule', 'remove_schedule', 'add_endpoint', 'change_endpoint',
    'test_endpoint', 'remove_endpoint', 'rotate_secret', 'show_secret', 'replay_delivery',
    'make_key', 'revoke_key', 'limit_producer', 'suspend_producer', 'resume_producer', 'pause_all',
    'resume_all', 'forget_missing', 'repair', 'erase', 'migrate'
)"""
SCOPES = """
    cardinality(scopes) > 0 AND scopes <@ CASE WHEN producer_id IS NULL
    THEN ARRAY['view', 'operate', 'spend'] ELSE ARRAY['enqueue', 'read', 'admin'] END
"""
FORMER_SCOPES = "cardinality(scopes) > 0 AND scopes <@ ARRAY['enqueue', 'read', 'admin']"
CHECKS = {
    "ck_actions_kind_is_known": KINDS,
    "ck_actions_others_are_finished": f"finished_at IS NOT NULL OR (batch_id IS NOT NULL AND {CARRIED_OUT})",
    "ck_actions_role_is_known": "actor_role IN ('operator', 'producer', 'command')",
    "ck_actions_texts_are_short": "length(actor) <= 200 AND length(undone_by) <= 200"
    " AND length(reason) <= 500",
    "ck_actions_subject_is_known": "subject IN ('batch', 'job', 'schedule', 'endpoint', 'delivery', 'key',"
    " 'producer', 'everything')",
    "ck_actions_undone_by_somebody": "(undone_at IS NULL) = (undone_by IS NULL)",
}
QUOTES = """
CREATE TABLE quotes (
    id uuid NOT NULL DEFAULT uuidv7(),
    batch_id uuid NOT NULL,
    actor_role text NOT NULL,
    actor text NOT NULL,
    actor_key_id uuid,
    codes text[],
    jobs bigint NOT NULL,
    free bigint NOT NULL,
    credits bigint NOT NULL,
    dollars numeric NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_quotes PRIMARY KEY (id),
    CONSTRAINT fk_quotes_batch_id FOREIGN KEY (batch_id) REFERENCES batches(id),
    CONSTRAINT ck_quotes_counts_add_up
        CHECK (jobs >= 0 AND free >= 0 AND credits >= 0 AND free + credits = jobs)
)
"""


def upgrade() -> None:
    drop_not_null("api_keys", "producer_id")
    _replace("api_keys", "ck_api_keys_scopes_are_known", SCOPES)
    drop_not_null("actions", "batch_id")
    add_columns(
        "actions",
        "actor_role text",
        "actor text",
        "actor_key_id uuid",
        "subject text",
        "subject_id uuid",
        "expected bigint",
        "credits bigint",
        "dollars numeric",
        "reason text",
        "undone_at timestamptz",
        "undone_by text",
    )
    for name, condition in CHECKS.items():
        _replace("actions", name, condition)
    create_index_concurrently("ix_actions_producer", "actions", "producer_id, id")
    create_index_concurrently(
        "ix_actions_subject", "actions", "subject_id, id", where="subject_id IS NOT NULL"
    )
    create_index_concurrently("ix_actions_carried_out", "actions", "batch_id, id", where=CARRIED_OUT)
    op.get_bind().exec_driver_sql(QUOTES)


def _replace(table: str, name: str, condition: str) -> None:
    drop_constraints(table, name)
    add_check_not_valid(table, name, condition)
    validate(table, name)


def downgrade() -> None:
    op.execute("DROP TABLE quotes")
    op.execute("DROP INDEX ix_actions_carried_out, ix_actions_subject, ix_actions_producer")
    # The version before knows neither other actions nor operators' keys.
    op.execute(f"DELETE FROM actions WHERE NOT ({CARRIED_OUT}) OR batch_id IS NULL")  # noqa: S608 - a constant
    op.execute("DELETE FROM api_keys WHERE producer_id IS NULL")
    op.execute(
        "ALTER TABLE actions DROP CONSTRAINT ck_actions_kind_is_known,"
        " DROP CONSTRAINT ck_actions_others_are_finished, DROP CONSTRAINT ck_actions_role_is_known,"
        " DROP CONSTRAINT ck_actions_texts_are_short, DROP CONSTRAINT ck_actions_subject_is_known,"
        " DROP CONSTRAINT ck_actions_undone_by_somebody, ALTER COLUMN batch_id SET NOT NULL,"
        f" ADD CONSTRAINT ck_actions_kind_is_known CHECK ({CARRIED_OUT}),"
        " DROP COLUMN actor_role, DROP COLUMN actor, DROP COLUMN actor_key_id, DROP COLUMN subject,"
        " DROP COLUMN subject_id, DROP COLUMN expected, DROP COLUMN credits, DROP COLUMN dollars,"
        " DROP COLUMN reason, DROP COLUMN undone_at, DROP COLUMN undone_by"
    )
    op.execute(
        "ALTER TABLE api_keys DROP CONSTRAINT ck_api_keys_scopes_are_known,"
        f" ADD CONSTRAINT ck_api_keys_scopes_are_known CHECK ({FORMER_SCOPES}),"
        " ALTER COLUMN producer_id SET NOT NULL"
    )
