"""The oldest snapshot that a session holds: what was changed since cannot be cleaned up, and indexes grow."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from jobs.database import Database

LONG = timedelta(minutes=10)

# A role that may not see others' sessions sees no times there, and only its own. What a standby keeps by its
# feedback has the age of transactions, not a time.
OLDEST = text("""
    SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s, pid, application_name
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
        AND (datname = current_database() OR backend_type = 'walsender')
    ORDER BY xact_start LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Held for so many seconds, by which session."""

    age_s: float
    pid: int
    application: str


def oldest_snapshot(database: Database) -> Snapshot | None:
    """The oldest one beside the caller's own, if there is any."""
    row = database.execute(OLDEST).first()
    return None if row is None else Snapshot(row.age_s, row.pid, row.application_name or "")
