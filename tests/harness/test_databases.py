"""Databases that one test after the other uses."""

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cutout.queue.enqueue import NewJob, enqueue
from local import LocalServices
from tests.conftest import url_of
from tests.support.databases import Databases


@pytest.fixture
def own(admin: Engine, template: str) -> Databases:
    """Databases with no spare one yet."""
    return Databases(admin, template)


def oid(admin: Engine, name: str) -> int:
    """The database's identity under whatever name."""
    with admin.connect() as connection:
        found = connection.scalar(text("SELECT oid FROM pg_database WHERE datname = :name"), {"name": name})
        assert isinstance(found, int)
        return found


def used(services: LocalServices, name: str, statement: str) -> None:
    """Change a database as a test would."""
    engine = create_engine(url_of(services, name), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_one_that_was_used_comes_back_as_new(
    own: Databases, services: LocalServices, admin: Engine, template: str
) -> None:
    """Under another name, with the rows of the template, its sequences at their start, nobody in it."""
    first = own.take()
    stray = create_engine(url_of(services, first), poolclass=NullPool)
    with Session(stray) as session, session.begin():
        enqueue(session, NewJob("https://shop.example/a.jpg"))
        session.execute(text("UPDATE queue_clock SET paused_at = now()"))
    database = oid(admin, first)
    with stray.connect() as connection:
        own.give_back(first)
        second = own.take()
        assert (oid(admin, second), second != first) == (database, True)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    with pytest.raises(OperationalError):
        stray.connect()
    with create_engine(url_of(services, second), poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == 0
        assert connection.execute(text("SELECT id, paused_at FROM queue_clock")).all() == [(1, None)]
        attempts = text("SELECT nextval(pg_get_serial_sequence('attempts', 'id'))")
        assert connection.scalar(attempts) == 1
    own.give_back(second)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE jobs ADD CHECK (tries < 100) NOT VALID",
        "CREATE INDEX ON jobs (tries)",
        "ALTER TABLE attempts RENAME TO away",
        "CREATE SCHEMA other",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 1024', current_database()); END $$",
        "INSERT INTO workers (host, pid) SELECT 'here', n FROM generate_series(0, 2000) AS n",
    ],
)
def test_one_that_is_another_now_is_not_used_again(
    own: Databases, services: LocalServices, admin: Engine, change: str
) -> None:
    """Its schema, its settings or its size changed: it is dropped."""
    first = own.take()
    database = oid(admin, first)
    used(services, first, change)
    own.give_back(first)
    second = own.take()
    assert oid(admin, second) != database
    own.give_back(second)
