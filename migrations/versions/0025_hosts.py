"""bounds on slow sources and receivers"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STANDINGS = ["in_line", "handed_out", "serving", "resting", "waiting", "parked"]
WITH_SOURCE_LIMIT = [*STANDINGS[:-1], "source_limit", STANDINGS[-1]]
OWNER = sa.text("COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)")
WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    _know(WITH_SOURCE_LIMIT)
    op.create_index(
        "ix_jobs_source_limit",
        "jobs",
        [OWNER, "priority", "place"],
        postgresql_where=sa.text("standing = 'source_limit'"),
    )
    op.add_column("workers", sa.Column("call_threads", sa.Integer()))
    op.create_table(
        "receivers",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner", "host", name=op.f("pk_receivers")),
    )
    op.create_index("ix_receivers_proven_at", "receivers", ["proven_at"])
    op.create_index(
        "ix_deliveries_due_by_owner", "deliveries", [OWNER, "host", "due_at"], postgresql_where=WAITING
    )
    op.drop_index("ix_deliveries_due", table_name="deliveries")


def downgrade() -> None:
    op.create_index("ix_deliveries_due", "deliveries", ["host", "due_at"], postgresql_where=WAITING)
    op.drop_index("ix_deliveries_due_by_owner", table_name="deliveries")
    op.drop_table("receivers")
    op.drop_column("workers", "call_threads")
    op.drop_index("ix_jobs_source_limit", table_name="jobs")
    op.execute("UPDATE jobs SET standing = 'in_line' WHERE standing = 'source_limit'")
    _know(STANDINGS)


def _know(standings: list[str]) -> None:
    words = ", ".join(f"'{standing}'" for standing in standings)
    op.drop_constraint(op.f("ck_jobs_standing_is_known"), "jobs")
    op.create_check_constraint(op.f("ck_jobs_standing_is_known"), "jobs", f"standing IN ({words})")
