"""Waits for locks of tables that programs use: short, repeated, and with the name of what holds the lock.

A statement that waits for a lock makes every later statement on that table wait as well, reads too. So it
waits for LOCK_TIMEOUT_S only, then lets the others pass for PAUSE_S, and tries again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cutout.models.database_errors import LOCK_TIMEOUT, sqlstate

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 1.0
WITHOUT_END = 0.0
PAUSE_S = 1.0
# With the pauses about two minutes.
TRIES = 60
# CREATE INDEX CONCURRENTLY and VALIDATE wait without making others wait.
HARMLESS_WAIT_S = 3600.0
DEADLOCK = "40P01"
WATCH_EVERY_S = 0.25
SAY_EVERY_S = 10.0
# What the session is called that holds the lock; its statement is left out, since it may contain secrets.
HOLDERS = text("""
    SELECT pid, application_name, state, extract(epoch FROM now() - xact_start)::bigint AS seconds
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(:pid)) ORDER BY xact_start
""")


class StillLockedError(Exception):
    """A statement did not get its locks in all its tries."""


class LockedTableError(Exception):
    """A table that a migration changes stayed in use by another session."""

    def __init__(self, holders: str) -> None:
        super().__init__(
            f"the migration did not get a lock that it needs; it is held by {holders}. Let that session end,"
            " or end it with `SELECT pg_terminate_backend(<its process>)`, then run `cutout migrate` again,"
            " which goes on where it stopped"
        )


def set_lock_timeout(connection: Connection, seconds: float | None = None) -> None:
    """Let each statement wait at most so long for a lock; LOCK_TIMEOUT_S unless given, 0 is without end."""
    seconds = LOCK_TIMEOUT_S if seconds is None else seconds
    connection.exec_driver_sql(f"SET lock_timeout = '{seconds * 1000:.0f}ms'")


def repeat_while_locked(
    act: Callable[[], None], *, tries: int | None = None, after_failure: Callable[[], None] = lambda: None
) -> None:
    """Run `act` again while its locks are held by others. It must be safe to repeat.

    Raises StillLockedError after so many tries, or TRIES.
    """
    for tries_left in reversed(range(tries or TRIES)):
        try:
            act()
        except DBAPIError as error:
            after_failure()
            if sqlstate(error) not in {LOCK_TIMEOUT, DEADLOCK}:
                raise
            if not tries_left:
                raise StillLockedError from error
        else:
            return
        time.sleep(PAUSE_S)


@contextmanager
def holders_named(engine: Engine, connection: Connection) -> Iterator[None]:
    """Log what `connection` waits for, and turn StillLockedError into a LockedTableError that says it."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    connection.commit()
    watch = _Watch(engine, pid)
    watch.start()
    try:
        yield
    except StillLockedError as error:
        raise LockedTableError(watch.holders or "a session that has ended since") from error
    finally:
        watch.stop()


class _Watch(threading.Thread):
    """Asks again and again which sessions the session `pid` waits for."""

    def __init__(self, engine: Engine, pid: int) -> None:
        super().__init__(name="lock-watch", daemon=True)
        # A connection of its own: the engine may have but the one that the migration uses.
        self._engine = create_engine(engine.url, poolclass=NullPool)
        self._pid = pid
        self._ends = threading.Event()
        self._said_at = 0.0
        self.holders = ""

    def run(self) -> None:
        try:
            with self._engine.connect() as connection:
                while not self._ends.wait(WATCH_EVERY_S):
                    self._look(connection)
        except SQLAlchemyError:
            # The migration itself meets the same and says it.
            log.debug("what holds the lock is not known", exc_info=True)

    def stop(self) -> None:
        self._ends.set()
        self.join()

    def _look(self, connection: Connection) -> None:
        rows = connection.execute(HOLDERS, {"pid": self._pid}).all()
        connection.commit()
        if not rows:
            return
        self.holders = ", ".join(
            f"process {row.pid} of Postgres (application {row.application_name!r}, {row.state},"
            f" in its transaction for {row.seconds or 0} s)"
            for row in rows
        )
        if time.monotonic() - self._said_at > SAY_EVERY_S:
            self._said_at = time.monotonic()
            log.warning("the migration waits for a lock that is held by %s", self.holders)
