"""Figures beside the jobs: requested ingests, webhooks, and connections of Postgres."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

# Each part reads a partial index of rows that wait. What a suspended producer has waits by intent.
WAITING = text("""
    SELECT ingests.*, webhooks.*, connections.*
    FROM (
        SELECT count(*) AS ingests, extract(epoch FROM min(due_at))::float8 AS ingests_since
        FROM ingests i
        WHERE source IS NOT NULL AND finished_at IS NULL AND due_at <= now()
        AND NOT EXISTS (SELECT FROM producers p WHERE p.id = i.asked_by AND p.suspended_at IS NOT NULL)
    ) ingests, (
        SELECT count(*) AS webhooks, extract(epoch FROM min(created_at))::float8 AS webhooks_since,
            extract(epoch FROM min(created_at) FILTER (WHERE tries = 0))::float8 AS untried_since
        FROM deliveries d
        WHERE state = 'waiting'
        AND NOT EXISTS (SELECT FROM producers p WHERE p.id = d.producer_id AND p.suspended_at IS NOT NULL)
    ) webhooks, (
        SELECT count(*) AS connections, current_setting('max_connections')::int AS connections_limit
        FROM pg_stat_activity WHERE backend_type = 'client backend'
    ) connections
""")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Numbers of what waits. Times are in Unix seconds, None without any."""

    ingests: int
    ingests_since: float | None
    webhooks: int
    webhooks_since: float | None
    untried_since: float | None
    connections: int
    connections_limit: int


def read_waiting(database: Session) -> Waiting:
    """Read what waits now."""
    return Waiting(*database.execute(WAITING).one())
