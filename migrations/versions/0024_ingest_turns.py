"""ingests: who asked for them, whose turn it is, and how often their reader died"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

ZERO = sa.text("0")
NOBODY = sa.text("'00000000-0000-0000-0000-000000000000'")


def upgrade() -> None:
    op.add_column("ingests", sa.Column("asked_by", sa.Uuid(), server_default=NOBODY, nullable=False))
    op.add_column("ingests", sa.Column("to_fetch", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("ingests", sa.Column("deaths", sa.SmallInteger(), server_default=ZERO, nullable=False))
    op.execute("""
        UPDATE ingests i SET
            asked_by = coalesce(b.producer_id, i.asked_by),
            to_fetch = i.manifest_key IS NULL AND i.source ~* '^https?://'
        FROM batches b
        WHERE b.id = i.batch_id AND i.source IS NOT NULL AND i.finished_at IS NULL
    """)
    op.create_index(
        "ix_ingests_turns",
        "ingests",
        ["to_fetch", "asked_by", "due_at"],
        postgresql_where=sa.text("source IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_table(
        "ingest_turns",
        sa.Column("asked_by", sa.Uuid(), primary_key=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("ingest_turns")
    op.drop_index("ix_ingests_turns", table_name="ingests")
    for name in ("deaths", "to_fetch", "asked_by"):
        op.drop_column("ingests", name)
