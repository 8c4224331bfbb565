"""polling"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STORED = "ck_jobs_succeeded_if_and_only_if_stored"
DELETED = "ck_jobs_deleted_is_final_and_emptied"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.drop_constraint(op.f(STORED), "jobs", type_="check")
    op.create_check_constraint(
        op.f(STORED),
        "jobs",
        "(state = 'succeeded' AND deleted_at IS NULL) = (key IS NOT NULL)"
        " AND (key IS NULL) = (sha256 IS NULL)",
    )
    op.create_check_constraint(
        op.f(DELETED),
        "jobs",
        "deleted_at IS NULL OR finished_at IS NOT NULL AND producer_id IS NULL AND external_id IS NULL",
    )
    op.create_index(
        "ix_jobs_producer", "jobs", ["producer_id", "id"], postgresql_where=sa.text("producer_id IS NOT NULL")
    )
    op.create_index(
        "ix_jobs_producer_batch",
        "jobs",
        ["batch_id", "id"],
        postgresql_where=sa.text("producer_id IS NOT NULL AND batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_finished",
        "jobs",
        ["batch_id", "finished_at", "id"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_key",
        "jobs",
        ["key"],
        postgresql_using="hash",
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index(
        "ix_batches_producer",
        "batches",
        ["producer_id", "id"],
        postgresql_where=sa.text("producer_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_batches_producer", table_name="batches")
    for name in ("ix_jobs_key", "ix_jobs_finished", "ix_jobs_producer_batch", "ix_jobs_producer"):
        op.drop_index(name, table_name="jobs")
    op.drop_constraint(op.f(DELETED), "jobs", type_="check")
    op.drop_constraint(op.f(STORED), "jobs", type_="check")
    # A deleted job that succeeded has no cutout any more.
    op.execute("UPDATE jobs SET state = 'cancelled' WHERE deleted_at IS NOT NULL")
    op.create_check_constraint(
        op.f(STORED),
        "jobs",
        "(state = 'succeeded') = (key IS NOT NULL) AND (key IS NULL) = (sha256 IS NULL)",
    )
    op.drop_column("jobs", "deleted_at")
