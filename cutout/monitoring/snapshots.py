"""Snapshots of the database that are held for long: they keep Postgres from removing dead rows."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, text

from cutout.models.database import Database
from cutout.monitoring.check import Check, failed

LONG = timedelta(minutes=10)

# A role that may not see others' sessions sees only its own. A snapshot that a standby holds by its feedback
# has an age in transactions, not a time.
OLDEST = text("""
    SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s, pid, application_name
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
        AND (datname = current_database() OR backend_type = 'walsender')
    ORDER BY xact_start LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A held snapshot: its age in seconds and the session that holds it."""

    age_s: float
    pid: int
    application: str


def oldest_snapshot(database: Database) -> Snapshot | None:
    """The oldest snapshot besides the caller's own, if there is any."""
    row = database.execute(OLDEST).first()
    return None if row is None else Snapshot(row.age_s, row.pid, row.application_name or "")


def check_snapshots(engine: Engine) -> list[Check]:
    """One failed check if a snapshot has been held for LONG; otherwise none."""
    with engine.connect() as connection:
        oldest = oldest_snapshot(connection)
    if oldest is None or oldest.age_s < LONG.total_seconds():
        return []
    minutes = oldest.age_s / 60
    found = (
        f"session {oldest.pid} ({oldest.application}) has held a snapshot for {minutes:,.0f} minutes:"
        " Postgres cannot remove dead rows, and statements become slower"
    )
    remedy = "let it end, or end it by pg_terminate_backend; see docs/operate/outages.md"
    return [failed("snapshots", found, remedy)]
