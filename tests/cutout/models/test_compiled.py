"""Compiled statements, which go to psycopg directly, compared with statements run by SQLAlchemy."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, Numeric, bindparam, cast, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from cutout.models import JOBS, WORKERS
from cutout.models.compiled import Compiled
from cutout.models.database import connect, patiently
from cutout.queue.attempts.attempts import BEGIN, BEGIN_WITHIN_BUDGETS, RECORD
from cutout.queue.claims import CLAIM
from cutout.queue.dispatch import DISPATCH_CALLS, DISPATCH_REUSED
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.reuse.acquire import TAKE
from cutout.queue.settle import SUCCEED, SUCCEED_AFTER_ALL
from cutout.queue.snapshot import READ

BEATS = bindparam("beats", type_=WORKERS.c.beats.type)
REGISTER = insert(WORKERS).values(host="h", pid=1, beats=BEATS).returning(WORKERS.c.id, WORKERS.c.beats)
CHANGE = update(JOBS).where(JOBS.c.id == bindparam("job")).values(state=bindparam("new_state"))
WORKERS_THERE = select(func.count()).select_from(WORKERS)
END_ALL_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = :name"
)


@pytest.fixture
def one(database_url: str) -> Iterator[Engine]:
    """An engine as a worker has it, with one connection."""
    engine = connect(database_url, connections=1, check_first=False, autocommit=True, name="one")
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        *(CLAIM, BEGIN, BEGIN_WITHIN_BUDGETS, RECORD, SUCCEED, SUCCEED_AFTER_ALL, TAKE),
        *(*DISPATCH_CALLS.values(), *DISPATCH_REUSED.values(), *READ.values()),
    ],
)
def test_each_is_complete_without_sqlalchemy(engine: Engine, statement: Compiled) -> None:
    """It has no column default, no list of parameters and no type that SQLAlchemy converts."""
    assert statement.compile(engine.dialect)


class TestACompiledStatement:
    def test_returns_what_sqlalchemy_would(self, one: Engine, engine: Engine) -> None:
        """Types and names are equal; it commits by itself, where SQLAlchemy needs a commit."""
        with one.connect() as connection:
            row = Compiled(REGISTER).first(connection, {"beats": 7})
        with engine.connect() as connection:
            other = connection.execute(REGISTER, {"beats": 7}).one()
            assert connection.scalar(WORKERS_THERE) == 2
        assert isinstance(row.id, uuid.UUID)
        assert (type(row.id), row.beats, row[1]) == (type(other.id), other.beats, 7)

    def test_is_part_of_an_open_transaction(self, engine: Engine) -> None:
        """A rollback undoes it: such a connection does not commit each statement."""
        with engine.connect() as connection:
            assert Compiled(REGISTER).scalar(connection, {"beats": 1})
        with Session(engine) as session:
            assert Compiled(REGISTER).first(session, {"beats": 1}).beats == 1
        with engine.connect() as connection:
            assert connection.scalar(WORKERS_THERE) == 0

    def test_is_repeated_after_a_lost_connection(self, one: Engine, engine: Engine) -> None:
        """The error says that the connection is lost, and the pool opens another one."""
        register = Compiled(REGISTER)
        assert patiently(one, lambda connection: register.scalar(connection, {"beats": 1}))
        with engine.connect() as connection:
            assert connection.scalar(END_ALL_OTHERS, {"name": "one"})
        assert patiently(one, lambda connection: register.scalar(connection, {"beats": 2}))
        with engine.connect() as connection:
            assert connection.scalar(WORKERS_THERE) == 2

    def test_that_postgres_refuses_is_raised_as_by_sqlalchemy(self, one: Engine, engine: Engine) -> None:
        """The error has no parameters, and the connection serves the next statement."""
        with Session(engine) as session, session.begin():
            job_id = enqueue(session, NewJob("s3://bucket/a", "a"))
        change = Compiled(CHANGE.returning(JOBS.c.id))
        with one.connect() as connection:
            with pytest.raises(IntegrityError) as caught:
                change.scalar(connection, {"job": job_id, "new_state": "no state"})
            assert "[SQL parameters hidden" in str(caught.value)
            assert not caught.value.connection_invalidated
            assert change.scalar(connection, {"job": job_id, "new_state": "queued"}) == job_id
            assert change.scalar(connection, {"job": uuid.uuid4(), "new_state": "queued"}) is None

    @pytest.mark.parametrize(
        ("statement", "what"),
        [
            (update(JOBS).where(JOBS.c.state.in_(["queued"])).values(tries=0), "lists of parameters"),
            (
                update(JOBS).values(tries=0).returning(cast(JOBS.c.tries, Numeric).label("n")),
                "conversions of",
            ),
        ],
    )
    def test_is_refused_where_sqlalchemy_completes_it(
        self, engine: Engine, statement: UpdateBase, what: str
    ) -> None:
        """A list has one parameter for each member, and SQLAlchemy builds decimal numbers."""
        with pytest.raises(TypeError, match=what):
            Compiled(statement).compile(engine.dialect)
