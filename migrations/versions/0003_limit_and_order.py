"""limit and order"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
STANDING = "ck_jobs_standing_is_known"
QUEUED = "ck_jobs_queued_if_and_only_if_standing"


def upgrade() -> None:
    op.add_column("batches", sa.Column("paused_at", WHEN))
    op.add_column("batches", sa.Column("budget", sa.Integer()))
    op.add_column("batches", sa.Column("spent", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "batches", sa.Column("parked", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("batches", sa.Column("shift", sa.Double()))
    op.create_check_constraint(
        op.f("ck_batches_budget_is_not_negative"), "batches", "budget >= 0 AND spent >= 0"
    )
    op.create_index("ix_batches_parked", "batches", ["id"], postgresql_where=sa.text("parked"))
    op.drop_constraint(op.f(STANDING), "jobs", type_="check")
    op.create_check_constraint(
        op.f(STANDING), "jobs", "standing IN ('in_line', 'handed_out', 'resting', 'parked')"
    )
    op.drop_constraint(op.f(QUEUED), "jobs", type_="check")
    op.create_check_constraint(
        op.f(QUEUED),
        "jobs",
        "(state = 'queued') = (standing IS NOT NULL) OR state = 'held' AND standing = 'parked'",
    )
    op.create_index(
        "ix_jobs_parked", "jobs", ["batch_id", "place"], postgresql_where=sa.text("standing = 'parked'")
    )
    op.add_column("accounts", sa.Column("credits", sa.Double()))
    op.add_column("accounts", sa.Column("credits_at", WHEN))
    op.add_column("line", sa.Column("paused_at", WHEN))
    op.create_table(
        "limits",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("top", sa.Double()),
        sa.Column("open_calls", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("calls_per_second", sa.Double(), nullable=False),
        sa.Column("latency_seconds", sa.Double(), nullable=False),
        sa.Column("slow_at", WHEN),
        sa.Column("rests_until", WHEN),
        sa.Column("circuit_until", WHEN),
        sa.Column("seen_at", WHEN, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_limits_account")),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_limits")),
    )
    op.create_table(
        "spending",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_spending_spent_is_not_negative")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_spending")),
    )


def downgrade() -> None:
    op.drop_table("spending")
    op.drop_table("limits")
    op.drop_column("line", "paused_at")
    op.drop_column("accounts", "credits_at")
    op.drop_column("accounts", "credits")
    op.drop_index("ix_jobs_parked", table_name="jobs")
    op.execute("UPDATE jobs SET standing = 'in_line' WHERE standing = 'parked' AND state = 'queued'")
    op.execute("UPDATE jobs SET standing = NULL WHERE standing = 'parked'")
    op.drop_constraint(op.f(QUEUED), "jobs", type_="check")
    op.create_check_constraint(op.f(QUEUED), "jobs", "(state = 'queued') = (standing IS NOT NULL)")
    op.drop_constraint(op.f(STANDING), "jobs", type_="check")
    op.create_check_constraint(op.f(STANDING), "jobs", "standing IN ('in_line', 'handed_out', 'resting')")
    op.drop_index("ix_batches_parked", table_name="batches")
    op.drop_constraint(op.f("ck_batches_budget_is_not_negative"), "batches", type_="check")
    op.drop_column("batches", "shift")
    op.drop_column("batches", "parked")
    op.drop_column("batches", "spent")
    op.drop_column("batches", "budget")
    op.drop_column("batches", "paused_at")
