"""rows of manifests, and what an ingest left out"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("manifest_line", sa.BigInteger()))
    op.add_column("jobs", sa.Column("manifest_source", sa.Text()))
    op.add_column("ingests", sa.Column("skipped", JSONB()))
    op.add_column("ingests", sa.Column("remarks", JSONB()))


def downgrade() -> None:
    op.drop_column("ingests", "remarks")
    op.drop_column("ingests", "skipped")
    op.drop_column("jobs", "manifest_source")
    op.drop_column("jobs", "manifest_line")
