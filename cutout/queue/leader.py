"""Leader election: the leading dispatcher holds an advisory lock of Postgres, which all sessions can see."""

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


def leader_exists(database: Database) -> bool:
    """Whether a dispatcher leads now."""
    return bool(database.scalar(LEADS, {"lock": LEADER_LOCK}))
