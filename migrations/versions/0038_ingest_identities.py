"""The identity of what an ingest of a schedule read, by which its next run knows that nothing has changed."""

from migrations.operations import add_columns, drop_columns

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_columns("ingests", "identity bytea")


def downgrade() -> None:
    drop_columns("ingests", "identity")
