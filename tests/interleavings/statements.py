"""SQL statements of the world: reads, and changes that no function of the product makes."""

PLANNED = (
    "INSERT INTO ingests (batch_id, fingerprint, kind, options, finished_at)"
    " VALUES (:id, 'x', 'CSV', '{\"plan\": true}', now())"
)
HELD_FOR_APPROVAL = (
    "UPDATE jobs SET state = 'held', queue_state = 'blocked', code = 'NEEDS_APPROVAL', message = 'x'"
    " WHERE batch_id = :id"
)
MOVED_CLOCK = (
    "UPDATE jobs SET scheduled_at = now() WHERE scheduled_at > now()",
    "UPDATE attempts SET begun_at = begun_at - interval '1 hour' WHERE ended_at IS NULL",
    # The second check of a missing cutout is due then, and the first one is still recent.
    "UPDATE bought_results SET missing_since = missing_since - interval '5 minutes'",
)
UNKNOWN = "SELECT count(*) FROM attempts WHERE job_id = :id AND outcome = 'unknown'"
TAKES_A_RESULT = "id = :id AND finished_at IS NULL AND result_url IS NULL"
HAS_THE_RESULT = "id = :id AND step = 'copy' AND result_url = :url"
LOCK_BATCHES = "SELECT id FROM batches ORDER BY id FOR UPDATE"
# In the order of enqueueing, so that a failure can be reproduced.
BOUGHT_CUTOUTS = (
    "SELECT key FROM jobs WHERE key = ANY(:keys) AND NOT reused ORDER BY length(source), source, batch_id"
)
PICTURE_OF = "SELECT source_sha256 FROM jobs WHERE key = :key AND NOT reused"
BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)
