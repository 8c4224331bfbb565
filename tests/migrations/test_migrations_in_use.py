"""Migrations while programs read and write, while another migrates, and after one was cut off."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import pytest
from sqlalchemy import Connection, Engine, event, text

from cutout.models.database import connect
from migrations import lock_waits, run
from migrations.run import LockedTableError, upgrade
from tests.migrations.conftest import NewDatabase
from tests.migrations.filled import revisions
from tests.migrations.schema import schema
from tests.support.machine import scaled

INVALID = text("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
MIGRATING = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cutout-cli'
""")


@pytest.fixture
def newest(new_filled: NewDatabase) -> dict[str, set[tuple[object, ...]]]:
    """The schema after an undisturbed run."""
    engine = new_filled()
    upgrade(engine)
    return schema(engine)


@contextmanager
def open_transaction(engine: Engine, statement: str) -> Iterator[Connection]:
    """A session that has run the statement and does not end its transaction."""
    with engine.connect() as connection:
        connection.execute(text("SET application_name = 'a-long-report'"))
        connection.commit()
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        connection.execute(text(statement))
        yield connection
        connection.rollback()


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition for at most 30 s."""
    deadline = time.monotonic() + scaled(30.0)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Use:
    """Writers and a reader of large tables; `longest_write_s` is how long the slowest statement took."""

    def __init__(self, engine: Engine) -> None:
        self.longest_write_s = 0.0
        self.writes = 0
        self._url = engine.url.render_as_string(hide_password=False)
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(3)

    def __enter__(self) -> Self:
        engine = connect(self._url)
        self._tasks = [
            self._pool.submit(self._write, engine, "UPDATE jobs SET tries = tries WHERE id = :job"),
            self._pool.submit(
                self._write,
                engine,
                "INSERT INTO jobs (source, queue_state, virtual_start) VALUES ('', 'ready', 0)",
            ),
            self._pool.submit(self._read, engine),
        ]
        self._engine = engine
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._pool.shutdown()
        self._engine.dispose()
        for task in self._tasks:
            task.result()

    def _write(self, engine: Engine, statement: str) -> None:
        with engine.connect() as connection:
            job = connection.scalar(text("SELECT id FROM jobs LIMIT 1"))
            connection.commit()
            while not self._ends.wait(0.005):
                begun_at = time.monotonic()
                connection.execute(text(statement), {"job": job} if ":job" in statement else {})
                connection.commit()
                self.longest_write_s = max(self.longest_write_s, time.monotonic() - begun_at)
                self.writes += 1

    def _read(self, engine: Engine) -> None:
        """Transactions that last longer than a migration waits for a lock."""
        with engine.connect() as connection:
            while not self._ends.is_set():
                connection.execute(text("SELECT count(*) FROM jobs"))
                self._ends.wait(2 * lock_waits.LOCK_TIMEOUT_S)
                connection.commit()
                self._ends.wait(0.05)


@pytest.mark.long(
    "waits for locks that a reader holds, again and again; test_large_tables.py sees the same faults"
)
def test_no_write_waits_for_long(
    filled: Engine, newest: dict[str, set[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While long transactions read and short ones write, no write waits longer than a lock's limit + 1 s."""
    monkeypatch.setattr(lock_waits, "LOCK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(lock_waits, "PAUSE_S", 0.3)
    with Use(filled) as use:
        upgrade(filled)
    assert use.writes > 100
    assert use.longest_write_s < 0.5 + scaled(1.0)
    assert schema(filled) == newest


def test_two_at_once(filled: Engine, newest: dict[str, set[tuple[object, ...]]]) -> None:
    """The second waits without a transaction, since the first waits for all transactions that are open."""
    url = filled.url.render_as_string(hide_password=False)
    engines = [connect(url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(upgrade, engine) for engine in engines]:
            done.result(scaled(30.0))
    for engine in engines:
        engine.dispose()
    assert schema(filled) == newest


def test_who_waits_for_its_turn_has_no_transaction(filled: Engine) -> None:
    """A migration in line shows as idle, and goes on once the other has ended."""
    with filled.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": run.LOCK})
        other.commit()
        waiting = connect(filled.url.render_as_string(hide_password=False), name="cutout-cli")
        done = pool.submit(upgrade, waiting)
        seen = set()
        ends_at = time.monotonic() + 2.0
        while time.monotonic() < ends_at:
            query = (
                "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'cutout-cli'"
            )
            seen |= set(
                other.scalars(text(f"{query} AND state_change < clock_timestamp() - interval '0.1 s'"))
            )
            other.commit()
        assert seen == {False}
        other.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": run.LOCK})
        other.commit()
        done.result(scaled(30.0))
        waiting.dispose()


def test_a_lock_that_is_never_free_is_named(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After all tries the error names the session that holds the table, and what to do."""
    monkeypatch.setattr(lock_waits, "LOCK_TIMEOUT_S", 0.4)
    monkeypatch.setattr(lock_waits, "PAUSE_S", 0.1)
    monkeypatch.setattr(lock_waits, "TRIES", 2)
    with open_transaction(filled, "SELECT 1 FROM jobs LIMIT 1"):
        with pytest.raises(LockedTableError) as found:
            upgrade(filled)
        said = str(found.value)
        assert "application 'a-long-report', idle in transaction" in said
        assert "pg_terminate_backend" in said
        assert "run `cutout migrate` again" in said
    upgrade(filled)


def test_killed_while_it_builds_an_index(filled: Engine, newest: dict[str, set[tuple[object, ...]]]) -> None:
    """The invalid index that a killed run leaves is dropped and built anew by the next."""
    url = filled.url.render_as_string(hide_password=False)
    environment = {**os.environ, "CUTOUT_DATABASE_URL": url, "CUTOUT_REDIS_URL": "redis://unused:1/0"}
    with open_transaction(filled, "SELECT 1 FROM producers"):
        migration = subprocess.Popen([sys.executable, "-m", "cli", "migrate"], env=environment)
        with filled.connect().execution_options(isolation_level="AUTOCOMMIT") as looking:
            until(lambda: looking.scalar(INVALID))
            migration.send_signal(signal.SIGKILL)
            migration.wait()
            # Postgres notices it by itself.
            until(lambda: looking.scalar(MIGRATING) == 0)
            assert looking.scalar(INVALID)
    upgrade(filled)
    assert schema(filled) == newest


class CutOffError(Exception):
    """The process ends here."""


@pytest.mark.long("cuts a migration off at each of its statements and runs it again")
def test_cut_off_at_any_statement(
    new_filled: NewDatabase, newest: dict[str, set[tuple[object, ...]]]
) -> None:
    """Wherever a run ends, the next goes on and gives the same schema."""
    for number in range(1, 1_000):
        engine = new_filled()
        if not cut_off_after(engine, number):
            break
        upgrade(engine)
        assert schema(engine) == newest, f"cut off after {number} statements"
    assert number > len(revisions())


def cut_off_after(engine: Engine, statements: int) -> bool:
    """Migrate, and stop after so many statements that change something; False if there are no more."""
    left = statements

    def stop(_connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        nonlocal left
        left -= not statement.lstrip().startswith(("SELECT", "SET"))
        if left == 0 and not statement.lstrip().startswith(("SELECT", "SET")):
            raise CutOffError

    event.listen(engine, "after_cursor_execute", stop)
    try:
        upgrade(engine)
    except CutOffError:
        return True
    finally:
        event.remove(engine, "after_cursor_execute", stop)
        engine.dispose()
    return False


def test_needs_one_connection_of_the_pool(empty: Engine) -> None:
    """The watch for locks has its own: waiting for one of the pool would take its whole patience."""
    engine = connect(empty.url.render_as_string(hide_password=False), connections=1)
    began = time.monotonic()
    upgrade(engine)
    assert time.monotonic() - began < scaled(20)
    engine.dispose()
