"""catalogs"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NOTHING = sa.text("0")
FORMS = "return_form IN ('rgba', 'mask', 'whiteBK', 'crop')"


def upgrade() -> None:
    op.add_column("batches", sa.Column("reuse", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("batches", sa.Column("results_key", sa.Text()))
    op.create_index(
        "ix_batches_without_results", "batches", ["id"], postgresql_where=sa.text("results_key IS NULL")
    )
    op.add_column("jobs", sa.Column("source_sha256", sa.LargeBinary()))
    op.add_column("jobs", sa.Column("details", JSONB()))
    op.add_column("jobs", sa.Column("reused", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "results",
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("return_form", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("preparation", sa.SmallInteger(), nullable=False),
        sa.Column("buyer", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("sha256", sa.LargeBinary()),
        sa.Column("media_type", sa.Text()),
        sa.Column("size_bytes", sa.Integer()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("stored_at", WHEN),
        sa.CheckConstraint(FORMS, name=op.f("ck_results_return_form_is_known")),
        sa.CheckConstraint(
            "(stored_at IS NULL) = (key IS NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name=op.f("ck_results_stored_under_a_key"),
        ),
        sa.PrimaryKeyConstraint(
            "source_sha256", "return_form", "endpoint", "preparation", name=op.f("pk_results")
        ),
    )
    op.create_table(
        "sources",
        sa.Column("address_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("etag", sa.Text()),
        sa.Column("last_modified", sa.Text()),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", WHEN, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("address_sha256", name=op.f("pk_sources")),
    )
    op.create_table(
        "ingests",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("manifest_key", sa.Text()),
        sa.Column("options", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("records", sa.BigInteger(), server_default=NOTHING, nullable=False),
        sa.Column("pictures", sa.BigInteger(), server_default=NOTHING, nullable=False),
        sa.Column("jobs", sa.BigInteger(), server_default=NOTHING, nullable=False),
        sa.Column("rejects", sa.BigInteger(), server_default=NOTHING, nullable=False),
        sa.Column("duplicates", sa.BigInteger(), server_default=NOTHING, nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("finished_at", WHEN),
        sa.CheckConstraint("pictures = jobs + rejects + duplicates", name=op.f("ck_ingests_counts_add_up")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_ingests_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_ingests")),
    )
    op.create_index(
        "uq_ingests_fingerprint_unfinished",
        "ingests",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("ingests")
    op.drop_table("sources")
    op.drop_table("results")
    op.drop_column("jobs", "reused")
    op.drop_column("jobs", "details")
    op.drop_column("jobs", "source_sha256")
    op.drop_index("ix_batches_without_results", table_name="batches")
    op.drop_column("batches", "results_key")
    op.drop_column("batches", "reuse")
