"""identity of what was bought"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    # A table of its own: programs of the release before go on with `results`, whose rows do not say which
    # endpoint made a cutout nor which bucket holds it, so that nothing may be served from them.
    op.create_table(
        "bought_results",
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("return_form", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("preparation", sa.SmallInteger(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("buyer", sa.Uuid(), nullable=False),
        sa.Column("image_sha256", sa.LargeBinary()),
        sa.Column("key", sa.Text()),
        sa.Column("sha256", sa.LargeBinary()),
        sa.Column("media_type", sa.Text()),
        sa.Column("size_bytes", sa.Integer()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("warning", sa.Text()),
        sa.Column("stored_at", WHEN),
        sa.Column("missing_since", WHEN),
        sa.Column("missing_seen_at", WHEN),
        sa.CheckConstraint(
            "return_form IN ('rgba', 'mask', 'whiteBK', 'crop')",
            name=op.f("ck_bought_results_return_form_is_known"),
        ),
        sa.CheckConstraint(
            "(stored_at IS NULL) = (key IS NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name=op.f("ck_bought_results_stored_under_a_key"),
        ),
        sa.PrimaryKeyConstraint(
            "source_sha256",
            "return_form",
            "endpoint",
            "preparation",
            "bucket",
            "scope",
            name=op.f("pk_bought_results"),
        ),
    )
    op.create_index(
        "ix_bought_results_missing",
        "bought_results",
        ["missing_seen_at"],
        postgresql_where=sa.text("missing_seen_at IS NOT NULL"),
    )
    op.add_column("attempts", sa.Column("source_sha256", sa.LargeBinary()))
    op.add_column("attempts", sa.Column("endpoint", sa.Text()))
    op.add_column("attempts", sa.Column("preparation", sa.SmallInteger()))
    op.add_column("attempts", sa.Column("scope", sa.Text()))
    op.create_index(
        "ix_attempts_in_doubt",
        "attempts",
        ["source_sha256"],
        postgresql_where=sa.text("unknown_at IS NOT NULL OR lost_at IS NOT NULL"),
    )
    op.add_column("jobs", sa.Column("result_attempt", sa.BigInteger()))
    op.add_column("jobs", sa.Column("released_at", WHEN))
    op.create_index(
        "ix_jobs_held_pictures",
        "jobs",
        ["source_sha256"],
        postgresql_where=sa.text("state = 'held' AND standing IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_held_pictures", table_name="jobs")
    op.drop_column("jobs", "released_at")
    op.drop_column("jobs", "result_attempt")
    op.drop_index("ix_attempts_in_doubt", table_name="attempts")
    for column in ("scope", "preparation", "endpoint", "source_sha256"):
        op.drop_column("attempts", column)
    op.drop_table("bought_results")
