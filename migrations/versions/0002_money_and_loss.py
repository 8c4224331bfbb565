"""money and loss"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "breaker",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("opened_at", WHEN, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("probe_at", WHEN, nullable=True),
        sa.Column("closed_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("trips", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_breaker_there_is_one_bucket")),
        sa.CheckConstraint(
            "(opened_at IS NULL) = (reason IS NULL) AND (opened_at IS NULL) = (probe_at IS NULL)",
            name=op.f("ck_breaker_open_with_a_reason_and_a_probe"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breaker")),
    )
    op.execute("INSERT INTO breaker DEFAULT VALUES")
    op.create_table(
        "credit_readings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("read_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("balance", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_credit_readings_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_readings")),
    )
    op.create_index("ix_credit_readings_account_read_at", "credit_readings", ["account", "read_at"])
    op.add_column("attempts", sa.Column("unknown_at", WHEN, nullable=True))
    op.add_column("attempts", sa.Column("lost_at", WHEN, nullable=True))
    op.create_check_constraint(
        op.f("ck_attempts_only_what_was_paid_can_be_lost"),
        "attempts",
        "lost_at IS NULL OR outcome = 'charged'",
    )
    op.create_index("ix_attempts_begun_at", "attempts", ["begun_at"])
    op.execute("UPDATE attempts SET unknown_at = ended_at WHERE outcome = 'unknown'")
    op.add_column("jobs", sa.Column("lifeboat_key", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_jobs_lifeboat_holds_a_paid_result"), "jobs", "lifeboat_key IS NULL OR result_url IS NOT NULL"
    )
    op.create_index(
        "ix_jobs_copies",
        "jobs",
        ["result_expires_at"],
        postgresql_where=sa.text("standing = 'in_line' AND step = 'copy'"),
    )
    op.add_column("workers", sa.Column("left_at", WHEN, nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "left_at")
    op.drop_index("ix_jobs_copies", table_name="jobs")
    op.drop_constraint(op.f("ck_jobs_lifeboat_holds_a_paid_result"), "jobs", type_="check")
    op.drop_column("jobs", "lifeboat_key")
    op.drop_index("ix_attempts_begun_at", table_name="attempts")
    op.drop_constraint(op.f("ck_attempts_only_what_was_paid_can_be_lost"), "attempts", type_="check")
    op.drop_column("attempts", "lost_at")
    op.drop_column("attempts", "unknown_at")
    op.drop_table("credit_readings")
    op.drop_table("breaker")
