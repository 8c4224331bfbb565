"""breakers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    # What runs now goes on with its one row, the bucket's; the others are made when they first open.
    op.add_column("breaker", sa.Column("kind", sa.Text(), server_default="bucket", nullable=False))
    op.add_column("breaker", sa.Column("host", sa.Text()))
    op.add_column("breaker", sa.Column("code", sa.Text()))
    op.add_column(
        "breaker",
        sa.Column(
            "failed_jobs", postgresql.ARRAY(sa.Uuid()), server_default=sa.text("'{}'::uuid[]"), nullable=False
        ),
    )
    op.add_column("breaker", sa.Column("probe_job", sa.Uuid()))
    op.drop_constraint(op.f("ck_breaker_there_is_one_bucket"), "breaker", type_="check")
    op.drop_constraint(op.f("pk_breaker"), "breaker", type_="primary")
    op.create_primary_key(op.f("pk_breaker"), "breaker", ["kind"])
    op.create_check_constraint(
        op.f("ck_breaker_kind_is_known"), "breaker", "kind IN ('bucket', 'results', 'backlog')"
    )
    op.add_column("workers", sa.Column("cut_off_at", WHEN))
    op.add_column("workers", sa.Column("cut_off_reason", sa.Text()))
    op.create_index(
        "ix_workers_cut_off", "workers", ["id"], postgresql_where=sa.text("cut_off_at IS NOT NULL")
    )
    op.add_column(
        "attempts", sa.Column("in_outage", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("jobs", sa.Column("source_failed_at", WHEN))


def downgrade() -> None:
    op.drop_column("jobs", "source_failed_at")
    op.drop_column("attempts", "in_outage")
    op.drop_index("ix_workers_cut_off", table_name="workers")
    op.drop_column("workers", "cut_off_reason")
    op.drop_column("workers", "cut_off_at")
    op.execute("DELETE FROM breaker WHERE kind <> 'bucket'")
    op.drop_constraint(op.f("ck_breaker_kind_is_known"), "breaker", type_="check")
    op.drop_constraint(op.f("pk_breaker"), "breaker", type_="primary")
    op.create_primary_key(op.f("pk_breaker"), "breaker", ["id"])
    op.create_check_constraint(op.f("ck_breaker_there_is_one_bucket"), "breaker", "id = 1")
    for column in ("probe_job", "failed_jobs", "code", "host", "kind"):
        op.drop_column("breaker", column)
