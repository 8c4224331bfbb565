"""digests by producer and batch"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

OWNER = sa.text("COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)")


def upgrade() -> None:
    op.create_index("ix_digests_turns", "digests", [OWNER, "batch_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_digests_turns", table_name="digests")
