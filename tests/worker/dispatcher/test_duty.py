import logging

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from cutout.queue.snapshot import QueueSnapshot, read_snapshot
from worker.dispatcher import duty
from worker.dispatcher.duty import Duty


class Work:
    """A tick that runs a statement and counts its runs."""

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.done = 0

    def __call__(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        self.done += 1
        connection.execute(text(self.statement))


@pytest.fixture
def autocommit(engine: Engine) -> Engine:
    """An engine that commits each statement by itself, as the dispatcher's does."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


class TestAnError:
    def test_leaves_the_others_their_connection(
        self, autocommit: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, its duty pauses, and the next duty can use the connection."""
        odd, sound = Work("SELECT 1 / 0"), Work("SELECT 1")
        with autocommit.connect() as connection, caplog.at_level(logging.ERROR):
            snapshot = read_snapshot(connection, ["account"])
            duties = [Duty(odd), Duty(sound)]
            for _ in range(2):
                for each in duties:
                    each.run(connection, snapshot)
        assert (odd.done, sound.done) == (1, 2)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "DivisionByZero" in caplog.text

    def test_is_tried_again_after_a_pause(self, autocommit: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The cause of an error may be over."""
        monkeypatch.setattr(duty, "PAUSE_AFTER_ERROR_S", 0.0)
        work = Work("SELECT 1 / 0")
        with autocommit.connect() as connection:
            snapshot = read_snapshot(connection, ["account"])
            each = Duty(work)
            each.run(connection, snapshot)
            each.run(connection, snapshot)
        assert work.done == 2

    def test_that_ended_the_connection_is_raised(self, autocommit: Engine) -> None:
        """The leader's lock was lost with it, so the tick must end."""
        with autocommit.connect() as connection:
            snapshot = read_snapshot(connection, ["account"])
            with pytest.raises(DBAPIError) as caught:
                Duty(Work("SELECT pg_terminate_backend(pg_backend_pid())")).run(connection, snapshot)
        assert isinstance(caught.value, OperationalError)
