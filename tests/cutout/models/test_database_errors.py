"""Errors of a real Postgres: those that a retry may solve, and those of a wrong statement."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError

from cutout.models.database import connect, patiently
from cutout.models.database_errors import is_unreachable

# What psycopg prepares a statement after.
RUNS_BEFORE_PREPARED = 5
# Read-only and in recovery, of a pooler, a password, a lock; then by class: the connection, serialization,
# resources, shutdown and cancelled statements.
NOT_NOW = (
    *("25006", "25P03", "25P04", "26000", "28P01", "42P05", "55000", "55P03", "58030"),
    *("08000", "08003", "08006", "08P01"),
    *("40001", "40003", "40P01"),
    *("53000", "53100", "53200", "53300"),
    *("57014", "57P01", "57P02", "57P03", "57P04", "57P05"),
)
READ_ONLY = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
ANY_WRITE = text("INSERT INTO workers (host, pid) VALUES ('h', 1)")
ASK = text("SELECT :one + 1")


@pytest.fixture
def one(database_url: str) -> Iterator[Engine]:
    """An engine as a worker has it, with one connection."""
    engine = connect(database_url, connections=1, check_first=False, autocommit=True)
    yield engine
    engine.dispose()


def error_of(engine: Engine, state: str) -> DBAPIError:
    """The error of a statement for which Postgres raises this SQLSTATE."""
    raises = text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(raises)
    return caught.value


class TestAnError:
    @pytest.mark.parametrize(
        "state",
        NOT_NOW,
    )
    def test_of_a_postgres_that_cannot_work_is_recognised_by_its_sqlstate(
        self, one: Engine, state: str
    ) -> None:
        """The class of psycopg's error does not matter."""
        assert is_unreachable(error_of(one, state))

    @pytest.mark.parametrize(
        "state", ["42501", "42703", "42P01", "23505", "22021", "XX000", "54001", "0A000"]
    )
    def test_of_a_refused_statement_is_not_one(self, one: Engine, state: str) -> None:
        """A retry would change nothing."""
        assert not is_unreachable(error_of(one, state))

    def test_of_a_connection_that_is_lost_or_was_never_made_is_one(self, one: Engine) -> None:
        """Such errors have no SQLSTATE."""
        nowhere = connect("postgresql+psycopg://somebody:password@127.0.0.1:9/none", check_first=False)
        with pytest.raises(DBAPIError) as caught:
            nowhere.connect()
        assert is_unreachable(caught.value)
        assert is_unreachable(NoConnectionFreeError())
        with one.connect() as connection, pytest.raises(DBAPIError) as lost:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert is_unreachable(lost.value)

    def test_of_our_own_code_is_not_one(self) -> None:
        """A bug is not retried."""
        assert not is_unreachable(TypeError("x"))


def prepared(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one())


class TestAServerThatTakesNoWrites:
    def test_is_left_for_a_new_connection(self, one: Engine) -> None:
        """A server that became a replica keeps its sessions: only a new connection finds the new primary."""
        with one.connect() as connection:
            connection.execute(READ_ONLY)
        assert patiently(one, lambda connection: connection.execute(ANY_WRITE).rowcount) == 1


class TestPreparedStatements:
    def prepare(self, engine: Engine) -> None:
        with engine.connect() as connection:
            for _ in range(RUNS_BEFORE_PREPARED + 2):
                connection.execute(ASK, {"one": 1})
            assert prepared(connection) >= 1

    def test_that_a_pooler_lost_are_not_used_again(self, one: Engine) -> None:
        """After the first such error nothing is prepared, so a second one cannot occur."""
        self.prepare(one)
        with one.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            # Another session of the server's than the one that prepared them.
            raw.pgconn.exec_(b"DEALLOCATE ALL")
        assert patiently(one, lambda connection: connection.scalar(ASK, {"one": 1})) == 2
        with one.connect() as connection:
            for _ in range(RUNS_BEFORE_PREPARED + 2):
                connection.execute(ASK, {"one": 1})
            assert prepared(connection) == 0

    def test_that_a_migration_made_stale_are_prepared_again(self, one: Engine) -> None:
        """A worker that runs while `cutout migrate` adds a column loses nothing by it."""
        look = text("SELECT * FROM queue_clock")

        def ask(connection: Connection) -> int:
            return len(connection.execute(look).keys())

        with one.connect() as connection:
            for _ in range(RUNS_BEFORE_PREPARED + 2):
                columns = ask(connection)
            connection.execute(text("ALTER TABLE queue_clock ADD COLUMN newest int"))
        assert patiently(one, ask) == columns + 1
