import logging

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from cutout.queue.dispatch import Survey, survey
from worker.dispatcher import duty
from worker.dispatcher.duty import Part


class Work:
    """Runs a statement and counts."""

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.done = 0

    def __call__(self, connection: Connection, _found: Survey) -> None:
        self.done += 1
        connection.execute(text(self.statement))


@pytest.fixture
def autocommit(engine: Engine) -> Engine:
    """Statements that commit one by one, as the dispatcher's do."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


class TestAnError:
    def test_leaves_the_others_their_connection(
        self, autocommit: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, its part rests, and the next part finds the connection in order."""
        odd, sound = Work("SELECT 1 / 0"), Work("SELECT 1")
        with autocommit.connect() as connection, caplog.at_level(logging.ERROR):
            found = survey(connection, ["account"])
            parts = [Part(odd), Part(sound)]
            for _ in range(2):
                for each in parts:
                    each.run(connection, found)
        assert (odd.done, sound.done) == (1, 2)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "DivisionByZero" in caplog.text

    def test_is_tried_again_after_a_rest(self, autocommit: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What went wrong once may be over."""
        monkeypatch.setattr(duty, "REST_AFTER_ERROR_S", 0.0)
        work = Work("SELECT 1 / 0")
        with autocommit.connect() as connection:
            found = survey(connection, ["account"])
            each = Part(work)
            each.run(connection, found)
            each.run(connection, found)
        assert work.done == 2

    def test_that_ended_the_connection_is_raised(self, autocommit: Engine) -> None:
        """The lock of the leader went with it, so the tick must end."""
        with autocommit.connect() as connection:
            found = survey(connection, ["account"])
            with pytest.raises(DBAPIError) as caught:
                Part(Work("SELECT pg_terminate_backend(pg_backend_pid())")).run(connection, found)
        assert isinstance(caught.value, OperationalError)
