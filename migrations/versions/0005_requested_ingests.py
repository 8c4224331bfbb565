"""requested ingests"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NOTHING = sa.text("0")
ARE_REQUESTED = sa.text("source IS NOT NULL AND finished_at IS NULL")


def upgrade() -> None:
    op.add_column("ingests", sa.Column("source", sa.Text()))
    op.add_column("ingests", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.add_column("ingests", sa.Column("tries", sa.SmallInteger(), server_default=NOTHING, nullable=False))
    op.add_column("ingests", sa.Column("error", sa.Text()))
    op.add_column("ingests", sa.Column("rejects_key", sa.Text()))
    op.add_column("ingests", sa.Column("plan", JSONB()))
    op.create_check_constraint(
        op.f("ck_ingests_requested_if_and_only_if_due"), "ingests", "(source IS NULL) = (due_at IS NULL)"
    )
    op.create_check_constraint(
        op.f("ck_ingests_an_error_ends_it"), "ingests", "error IS NULL OR finished_at IS NOT NULL"
    )
    op.create_index("ix_ingests_requested", "ingests", ["due_at"], postgresql_where=ARE_REQUESTED)


def downgrade() -> None:
    op.drop_index("ix_ingests_requested", table_name="ingests")
    op.drop_constraint(op.f("ck_ingests_an_error_ends_it"), "ingests")
    op.drop_constraint(op.f("ck_ingests_requested_if_and_only_if_due"), "ingests")
    for column in ("plan", "rejects_key", "error", "tries", "due_at", "source"):
        op.drop_column("ingests", column)
