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
    """Work that loses its connection a few times and then succeeds, as when Postgres restarts."""

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
    """An engine without a Postgres behind it."""
    engine = connect("postgresql+psycopg://somebody:password@127.0.0.1:9/none", check_first=False)
    yield engine
    engine.dispose()


def ask(connection: Connection) -> None:
    """Run any statement."""
    connection.execute(text("SELECT 1"))


class TestRetries:
    def test_repeat_work_after_a_lost_connection(self, engine: Engine) -> None:
        """The third try succeeds after two lost connections."""
        assert patiently(engine, Work(losses=2)) == 3

    def test_end_after_the_time_given(self, nowhere: Engine) -> None:
        """There is one try and no delay, and the error contains no address and no password."""
        with pytest.raises(PostgresAwayError, match=r"^Postgres is unreachable \(OperationalError\)$"):
            patiently(nowhere, ask, give_up_after_s=0.0)

    def test_do_not_repeat_refused_statements(self, engine: Engine) -> None:
        """A wrong statement is raised at its first try."""
        with pytest.raises(ProgrammingError):
            patiently(engine, lambda connection: connection.execute(text("SELECT nothing")))

    def test_repeat_while_all_connections_of_the_pool_hang(self, engine: Engine) -> None:
        """No free connection means that Postgres does not respond, not that the work is wrong."""
        assert isinstance(engine.pool, QueuePool)
        engine.pool._timeout = 0.05
        held = [engine.connect() for _ in range(engine.pool.size())]
        try:
            with pytest.raises(PostgresAwayError, match="TimeoutError"):
                patiently(engine, ask, give_up_after_s=0.0)
        finally:
            for connection in held:
                connection.close()


class TestRetriesOfAProcessThatEnds:
    def test_end_soon_after_the_request_to_stop(
        self, nowhere: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A delay of seconds between tries is cut short, and little time is left."""
        stopping = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patiently, nowhere, ask, stopping=stopping, stop_patience_s=0.5)
            wait_until(lambda: "in 1.6 s" in caplog.text, "a wait of 1.6 s")
            told_at = time.monotonic()
            stopping.set()
            with pytest.raises(PostgresAwayError):
                waiting.result(timeout=60)
        assert time.monotonic() - told_at < scaled(1.2)

    def test_count_from_their_begin_after_an_earlier_request(self, engine: Engine) -> None:
        """A worker asked to stop a while ago still repeats work after a restart of Postgres."""
        stopping = threading.Event()
        stopping.set()
        assert patiently(engine, Work(losses=2), stopping=stopping) == 3

    def test_do_not_run_without_a_pause(self, nowhere: Engine, caplog: pytest.LogCaptureFixture) -> None:
        """A process asked to stop still waits between its tries."""
        stopping = threading.Event()
        stopping.set()
        with pytest.raises(PostgresAwayError):
            patiently(nowhere, ask, stopping=stopping, stop_patience_s=1.0)
        assert 1 <= len(caplog.records) <= 3
