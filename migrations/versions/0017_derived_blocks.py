"""derived blocks"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
PARKED = "standing = 'parked'"


def upgrade() -> None:
    op.add_column("batches", sa.Column("cancelled_at", WHEN))
    op.add_column("jobs", sa.Column("cancelled_at", WHEN))
    # The column `parked` is kept for the release before, whose programs may still run.
    op.drop_index("ix_batches_parked", table_name="batches")
    op.drop_index("ix_jobs_parked", table_name="jobs")
    _index("ix_jobs_parked", f"{PARKED} AND code IS DISTINCT FROM 'OVER_BUDGET'")
    _index("ix_jobs_over_budget", f"{PARKED} AND code = 'OVER_BUDGET'")


def downgrade() -> None:
    op.drop_index("ix_jobs_over_budget", table_name="jobs")
    op.drop_index("ix_jobs_parked", table_name="jobs")
    _index("ix_jobs_parked", PARKED)
    op.create_index("ix_batches_parked", "batches", ["id"], postgresql_where=sa.text("parked"))
    # The release before looks at no batch without this flag.
    op.execute(
        "UPDATE batches SET parked = true WHERE id IN"
        " (SELECT batch_id FROM jobs WHERE standing = 'parked' AND batch_id IS NOT NULL)"
    )
    op.drop_column("jobs", "cancelled_at")
    op.drop_column("batches", "cancelled_at")


def _index(name: str, which: str) -> None:
    op.create_index(name, "jobs", ["batch_id", "place"], postgresql_where=sa.text(which))
