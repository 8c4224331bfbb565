"""borders of reuse, and deletion that reaches sources and results files"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
UPLOADED = "source ~ '^s3://[^/]+/sources/'"
OWNER = "coalesce(j.producer_id::text, 'operator')"

# What was bought belongs to whose job bought it; among all producers it stays known as well.
OWNED = f"""
INSERT INTO bought_results (
    source_sha256, return_form, endpoint, preparation, bucket, scope, buyer, image_sha256, key, sha256,
    media_type, size_bytes, width, height, warning, stored_at, missing_since, missing_seen_at
)
SELECT
    r.source_sha256, r.return_form, r.endpoint, r.preparation, r.bucket, {OWNER}, r.buyer, r.image_sha256,
    r.key, r.sha256, r.media_type, r.size_bytes, r.width, r.height, r.warning, r.stored_at, r.missing_since,
    r.missing_seen_at
FROM bought_results r JOIN jobs j ON j.id = r.buyer
WHERE r.scope = ''
ON CONFLICT DO NOTHING
"""  # noqa: S608 - made of the constant above
# Of jobs that may still publish what they bought, and of what a picture's bounds are counted by.
OF_CALLS = f"""
UPDATE attempts a SET scope = {OWNER} FROM jobs j
WHERE j.id = a.job_id AND a.scope = ''
    AND (j.finished_at IS NULL OR a.unknown_at IS NOT NULL OR a.lost_at IS NOT NULL)
"""  # noqa: S608 - made of the constants above

# A batch whose results are written anew, since a job of it was deleted, has told its end already.
ANNOUNCES_BATCHES = """
CREATE TRIGGER announce_batch AFTER UPDATE OF results_key ON batches FOR EACH ROW
WHEN (
    NEW.webhook_url IS NOT NULL AND OLD.results_key IS NULL AND NEW.results_key IS NOT NULL{more}
)
EXECUTE FUNCTION announce_batch()
"""


def upgrade() -> None:
    op.execute(OWNED)
    op.execute(OF_CALLS)
    op.add_column("batches", sa.Column("results_unwritten_at", WHEN))
    op.execute("DROP TRIGGER announce_batch ON batches")
    op.execute(ANNOUNCES_BATCHES.format(more=" AND OLD.results_unwritten_at IS NULL"))
    op.create_index(
        "ix_jobs_uploaded", "jobs", ["source"], postgresql_using="hash", postgresql_where=sa.text(UPLOADED)
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_uploaded", table_name="jobs")
    op.execute("DROP TRIGGER announce_batch ON batches")
    op.execute(ANNOUNCES_BATCHES.format(more=""))
    op.drop_column("batches", "results_unwritten_at")
    # Another producer's would be served by its key.
    op.execute("DELETE FROM bought_results WHERE scope <> ''")
    op.execute("UPDATE attempts SET scope = '' WHERE scope <> ''")
