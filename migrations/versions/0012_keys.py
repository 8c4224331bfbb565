"""keys"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("last_used_at", WHEN),
        sa.Column("expires_at", WHEN),
        sa.Column("revoked_at", WHEN),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['enqueue', 'read', 'admin']",
            name=op.f("ck_api_keys_scopes_are_known"),
        ),
        sa.ForeignKeyConstraint(["producer_id"], ["producers.id"], name=op.f("fk_api_keys_producer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
    )
    op.create_index("ix_api_keys_producer_id", "api_keys", ["producer_id"])
    # What these keys could do so far, and no more.
    op.execute(
        "INSERT INTO api_keys (producer_id, name, key_sha256, scopes, created_at, revoked_at)"
        " SELECT id, name, key_sha256, ARRAY['enqueue', 'read'], created_at, revoked_at FROM producers"
        " ORDER BY id"
    )
    # Kept for the release before, whose programs may still run.
    op.alter_column("producers", "key_sha256", nullable=True)
    op.add_column("producers", sa.Column("job_quota", sa.Integer()))
    op.add_column(
        "producers", sa.Column("quota_taken", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("producers", sa.Column("quota_counted_at", WHEN))
    op.create_check_constraint(
        op.f("ck_producers_quota_is_not_negative"), "producers", "job_quota >= 0 AND quota_taken >= 0"
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("media_type", sa.Text()),
        sa.Column("location", sa.Text()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["producer_id"], ["producers.id"], name=op.f("fk_idempotency_keys_producer_id")
        ),
        sa.PrimaryKeyConstraint("producer_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_constraint("ck_producers_quota_is_not_negative", "producers")
    op.drop_column("producers", "quota_counted_at")
    op.drop_column("producers", "quota_taken")
    op.drop_column("producers", "job_quota")
    # A producer made since has its first valid key, or one that nobody knows.
    op.execute(
        "UPDATE producers p SET key_sha256 = coalesce("
        " (SELECT k.key_sha256 FROM api_keys k WHERE k.producer_id = p.id ORDER BY k.revoked_at IS NULL DESC,"
        " k.id LIMIT 1), sha256(gen_random_uuid()::text::bytea)) WHERE key_sha256 IS NULL"
    )
    op.alter_column("producers", "key_sha256", nullable=False)
    op.drop_table("api_keys")
