"""Actions: changes of a whole batch that go on by themselves; batches that are deleted."""

from alembic import op

from migrations.operations import add_columns

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

ACTIONS = """
CREATE TABLE actions (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid,
    batch_id uuid NOT NULL,
    kind text NOT NULL,
    options jsonb NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    due_at timestamptz NOT NULL DEFAULT now(),
    tries smallint NOT NULL DEFAULT 0,
    position jsonb,
    changed bigint NOT NULL DEFAULT 0,
    code text,
    message text,
    CONSTRAINT pk_actions PRIMARY KEY (id),
    CONSTRAINT fk_actions_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT fk_actions_batch_id FOREIGN KEY (batch_id) REFERENCES batches(id),
    CONSTRAINT ck_actions_kind_is_known
        CHECK (kind IN ('cancel', 'retry', 'add_outputs', 'retry_outputs', 'delete')),
    CONSTRAINT ck_actions_counts_are_not_negative CHECK (changed >= 0 AND tries >= 0),
    CONSTRAINT ck_actions_a_code_has_a_message CHECK ((code IS NULL) = (message IS NULL))
);
CREATE INDEX ix_actions_unfinished
    ON actions (COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid), id)
    WHERE finished_at IS NULL;
CREATE INDEX ix_actions_batch ON actions (batch_id, id);
CREATE INDEX ix_actions_unfinished_of_batch ON actions (batch_id, id) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX uq_actions_waiting ON actions (batch_id, kind)
    WHERE started_at IS NULL AND finished_at IS NULL;
"""


def upgrade() -> None:
    add_columns("batches", "delete_requested_at timestamptz", "deleted_at timestamptz")
    add_columns("pictures", "had_succeeded boolean NOT NULL DEFAULT false")
    op.get_bind().exec_driver_sql(ACTIONS)


def downgrade() -> None:
    op.execute("DROP TABLE actions")
    op.execute("ALTER TABLE pictures DROP COLUMN had_succeeded")
    op.execute("ALTER TABLE batches DROP COLUMN delete_requested_at, DROP COLUMN deleted_at")
