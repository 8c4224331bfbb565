"""shares of producers, ceilings, suspended producers, operators' pauses"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
IN_LINE = sa.text("standing = 'in_line'")
OWNER = sa.text("COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)")


def upgrade() -> None:
    _index_by("ix_jobs_line_of_producer", ["step", OWNER, "priority", "place"])
    op.add_column("producers", sa.Column("suspended_at", WHEN))
    op.add_column("producers", sa.Column("share", sa.REAL(), server_default=sa.text("1"), nullable=False))
    op.add_column("producers", sa.Column("top_priority", sa.SmallInteger()))
    op.add_column("producers", sa.Column("most_weight", sa.REAL()))
    for name, condition in (
        ("share_is_positive", "share > 0"),
        ("top_priority_is_known", "top_priority BETWEEN 0 AND 2"),
        ("most_weight_is_positive", "most_weight > 0"),
    ):
        op.create_check_constraint(op.f(f"ck_producers_{name}"), "producers", condition)
    op.add_column("batches", sa.Column("paused_by_operator_at", WHEN))
    op.add_column("schedules", sa.Column("paused_by_operator_at", WHEN))
    op.add_column("ingests", sa.Column("code", sa.Text()))
    op.add_column("ingests", sa.Column("message", sa.Text()))
    op.add_column("line", sa.Column("virtual_time", sa.Double(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "shares",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("virtual_time", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("present", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_shares")),
    )
    # Jobs that stand in line keep their places, and new ones come behind them.
    op.execute(
        "INSERT INTO shares (owner, present) SELECT owner, line.present FROM line, ("
        " SELECT id AS owner FROM producers UNION ALL SELECT '00000000-0000-0000-0000-000000000000'"
        ") owners"
    )
    op.drop_index("ix_jobs_line", table_name="jobs")


def downgrade() -> None:
    _index_by("ix_jobs_line", ["step", "priority", "place"])
    op.execute("UPDATE line SET present = greatest(present, (SELECT max(present) FROM shares))")
    op.drop_table("shares")
    op.drop_column("line", "virtual_time")
    op.drop_column("ingests", "message")
    op.drop_column("ingests", "code")
    # Whoever paused it, it stays so.
    for table in ("schedules", "batches"):
        op.execute(f"UPDATE {table} SET paused_at = coalesce(paused_at, paused_by_operator_at)")  # noqa: S608
        op.drop_column(table, "paused_by_operator_at")
    for name in ("most_weight", "top_priority", "share", "suspended_at"):
        op.drop_column("producers", name)
    op.drop_index("ix_jobs_line_of_producer", table_name="jobs")


def _index_by(name: str, columns: list[str | sa.TextClause]) -> None:
    """Without keeping anybody from writing, however many jobs there are."""
    with op.get_context().autocommit_block():
        # One that was interrupted leaves an invalid index.
        op.drop_index(name, table_name="jobs", if_exists=True, postgresql_concurrently=True)
        op.create_index(name, "jobs", columns, postgresql_where=IN_LINE, postgresql_concurrently=True)
