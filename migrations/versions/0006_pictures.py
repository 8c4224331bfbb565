"""pictures"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ADDS_UP = "ck_ingests_counts_add_up"


def upgrade() -> None:
    op.add_column(
        "ingests", sa.Column("unchanged", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("ingests", sa.Column("changes", JSONB()))
    op.drop_constraint(op.f(ADDS_UP), "ingests")
    op.create_check_constraint(op.f(ADDS_UP), "ingests", "pictures = jobs + rejects + duplicates + unchanged")
    op.create_table(
        "pictures",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text()),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("seen_in", sa.Uuid(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.CheckConstraint("change IN ('new', 'changed', 'again')", name=op.f("ck_pictures_change_is_known")),
        sa.PrimaryKeyConstraint("schedule_id", "external_id", name=op.f("pk_pictures")),
    )


def downgrade() -> None:
    op.drop_table("pictures")
    op.drop_constraint(op.f(ADDS_UP), "ingests")
    op.create_check_constraint(op.f(ADDS_UP), "ingests", "pictures = jobs + rejects + duplicates")
    op.drop_column("ingests", "changes")
    op.drop_column("ingests", "unchanged")
