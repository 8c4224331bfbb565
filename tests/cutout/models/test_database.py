import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import QueuePool

from cutout.models.database import PostgresAwayError, connect, patiently
from tests.support.machine import scaled
from tests.support.system import wait_until

END_MYSELF = text("SELECT pg_terminate_backend(pg_backend_pid())")


class Work:
    """Loses its connection a few times and then succeeds, as when Postgres restarts."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.tries = 0

    def __call__(self, connection: Connection) -> int:
        self.tries += 1
        if self.tries <= self.losses:
            connection.execute(END_MYSELF)
        return self.tries


@pytest.fixture
def nowhere() -> Iterator[Engine]:
    """A Postgres that is away."""
    engine = connect("postgresql+psycopg://somebody:password@127.0.0.1:9/none", check_first=False)
    yield engine
    engine.dispose()


def ask(connection: Connection) -> None:
    """Whatever it may be."""
    connection.execute(text("SELECT 1"))


class TestPatience:
    def test_repeats_what_a_lost_connection_broke(self, engine: Engine) -> None:
        """The third try succeeds after two lost connections."""
        assert patiently(engine, Work(losses=2)) == 3

    def test_ends_after_the_time_given(self, nowhere: Engine) -> None:
        """One try and no wait, and the error names no address and no password."""
        with pytest.raises(PostgresAwayError, match=r"^Postgres is unreachable \(OperationalError\)$"):
            patiently(nowhere, ask, give_up_after_s=0.0)

    def test_is_not_for_what_postgres_refuses(self, engine: Engine) -> None:
        """A wrong statement is raised at its first try."""
        with pytest.raises(ProgrammingError):
            patiently(engine, lambda connection: connection.execute(text("SELECT nothing")))

    def test_is_for_a_pool_whose_connections_all_hang(self, engine: Engine) -> None:
        """No free connection means that Postgres does not answer, not that the work is wrong."""
        assert isinstance(engine.pool, QueuePool)
        engine.pool._timeout = 0.05
        held = [engine.connect() for _ in range(engine.pool.size())]
        try:
            with pytest.raises(PostgresAwayError, match="TimeoutError"):
                patiently(engine, ask, give_up_after_s=0.0)
        finally:
            for connection in held:
                connection.close()


class TestPatienceOfAProcessThatEnds:
    def test_ends_soon_after_it_was_told(self, nowhere: Engine, caplog: pytest.LogCaptureFixture) -> None:
        """A wait of seconds between tries is cut short, and little patience is left."""
        stopping = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patiently, nowhere, ask, stopping=stopping, stop_patience_s=0.5)
            wait_until(lambda: "in 1.6 s" in caplog.text, "a wait of 1.6 s")
            told_at = time.monotonic()
            stopping.set()
            with pytest.raises(PostgresAwayError):
                waiting.result(timeout=60)
        assert time.monotonic() - told_at < scaled(1.2)

    def test_counts_from_its_beginning_when_it_was_told_before(self, engine: Engine) -> None:
        """A worker told to end a while ago still repeats what a restart of Postgres broke."""
        stopping = threading.Event()
        stopping.set()
        assert patiently(engine, Work(losses=2), stopping=stopping) == 3

    def test_does_not_ask_without_a_pause(self, nowhere: Engine, caplog: pytest.LogCaptureFixture) -> None:
        """Told to end, it still waits between its tries."""
        stopping = threading.Event()
        stopping.set()
        with pytest.raises(PostgresAwayError):
            patiently(nowhere, ask, stopping=stopping, stop_patience_s=1.0)
        assert 1 <= len(caplog.records) <= 3
