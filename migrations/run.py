"""Bring a database to the newest schema, or say how far it is from it."""

import time
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from migrations.lock_waits import LockedTableError, holders_named, repeat_while_locked

__all__ = ["LockedTableError", "UnknownSchemaError", "downgrade", "newer", "newest", "pending", "upgrade"]

NEWEST = "head"
HERE = Path(__file__).parent
DIGITS = 4
# Two processes may migrate at once: the second waits for this advisory lock and finds nothing left to do.
LOCK = 7_201_001
TURN_EVERY_S = 0.5


class UnknownSchemaError(Exception):
    """The database has a schema that this version cannot upgrade."""

    def __init__(self, current: str) -> None:
        super().__init__(
            f"the database has the schema {current}, which this version does not know; use the version that"
            " made it, or a new database"
        )


def upgrade(engine: Engine, revision: str = NEWEST) -> None:
    """Migrate up to `revision`; a newer schema stays. Raises UnknownSchemaError, LockedTableError."""
    head, known = _revisions()
    current = _current(engine)
    if current is not None and current not in known:
        if current > head:
            # A program that was put back starts as it did before, by the same commands.
            return
        raise UnknownSchemaError(current)
    _with_lock(engine, "upgrade", revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`; "base" empties the database. Raises LockedTableError."""
    _with_lock(engine, "downgrade", revision)


def pending(engine: Engine) -> bool:
    """Whether the database lacks a migration that this program knows.

    A newer schema is not pending: what runs bears it, since `cutout migrate` goes first at an upgrade.
    """
    head, known = _revisions()
    current = _current(engine)
    return current != head and (current is None or current in known or current < head)


def newer(engine: Engine) -> str | None:
    """The database's revision if it is newer than all that this program knows, else None."""
    current = _current(engine)
    return current if current is not None and current > _revisions()[0] else None


def newest() -> str:
    """The newest revision that this program knows."""
    return _revisions()[0]


def _current(engine: Engine) -> str | None:
    """The database's revision, None without one. Alembic's own context logs two lines at each read."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest revision, and all: numbers of four digits, with which the names of the files begin.

    Alembic would import each file.
    """
    known = frozenset(path.name[:DIGITS] for path in (HERE / "versions").glob("[0-9]*.py"))
    return max(known), known


def _with_lock(engine: Engine, name: str, revision: str) -> None:
    """Run Alembic's command of this name."""
    # Imported here alone: each process asks whether migrations are pending, and few migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config, change = Config(), getattr(command, name)
    config.set_main_option("script_location", str(HERE))
    with engine.connect() as connection:
        # So that Postgres ends what a killed migration was doing, and the next need not wait for it.
        connection.exec_driver_sql("SET client_connection_check_interval = '2s'")
        connection.commit()
        _wait_for_turn(connection)
        try:
            config.attributes["connection"] = connection
            with holders_named(engine, connection):
                repeat_while_locked(lambda: change(config, revision), after_failure=connection.rollback)
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            connection.commit()


def _wait_for_turn(connection: Connection) -> None:
    """Wait for the lock without a transaction: CREATE INDEX CONCURRENTLY waits for those that are open."""
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        connection.commit()
        time.sleep(TURN_EVERY_S)
    connection.commit()
