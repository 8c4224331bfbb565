"""The ends of webhook messages that were sent again after them."""

from migrations.operations import add_columns, drop_columns

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_columns("deliveries", "past_ends jsonb")


def downgrade() -> None:
    drop_columns("deliveries", "past_ends")
