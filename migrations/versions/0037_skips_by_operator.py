"""The side that skipped a schedule's run: what an operator skipped, its producer does not let start."""

from migrations.operations import add_columns, drop_columns

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_columns("schedules", "skips_by_operator boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    drop_columns("schedules", "skips_by_operator")
