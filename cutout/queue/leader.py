"""The dispatcher that leads holds a lock of Postgres: whether one does, anyone can see."""

from sqlalchemy import text

from cutout.models.database import Database

LEADER_LOCK = 7_201_002

# Advisory locks belong to a database, and the view shows those of the whole server.
LEADS = text("""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND objid = :lock AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")


def a_dispatcher_leads(database: Database) -> bool:
    """Whether a dispatcher leads now."""
    return bool(database.scalar(LEADS, {"lock": LEADER_LOCK}))
