from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
from sqlalchemy import Engine, text

from cutout.models.database import connect
from local import LocalServices
from migrations.run import upgrade
from tests.conftest import url_of
from tests.migrations.filled import fill, revisions
from tests.support.databases import copy_of

NewDatabase = Callable[[], Engine]


@contextmanager
def made(services: LocalServices, admin: Engine, name: str, template: str | None = None) -> Iterator[Engine]:
    """A database of this name, without tables or as a copy; gone at the end."""
    with admin.connect() as connection:
        connection.execute(copy_of(template, name) if template else text(f"CREATE DATABASE {name}"))
    engine = connect(url_of(services, name))
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty(services: LocalServices, admin: Engine) -> Iterator[Engine]:
    """A database without tables."""
    with made(services, admin, "empty") as engine:
        yield engine


@pytest.fixture(scope="session")
def filled_template(services: LocalServices, admin: Engine) -> Iterator[str]:
    """A database with the initial schema and large tables, to be copied."""
    with made(services, admin, "filled_template") as engine:
        upgrade(engine, revisions()[0])
        fill(engine)
        engine.dispose()
        yield "filled_template"


@pytest.fixture
def new_filled(services: LocalServices, admin: Engine, filled_template: str) -> Iterator[NewDatabase]:
    """Make databases with the initial schema and large tables, each another one."""
    numbers = count()
    with ExitStack() as stack:
        yield lambda: stack.enter_context(made(services, admin, f"filled_{next(numbers)}", filled_template))


@pytest.fixture
def filled(new_filled: NewDatabase) -> Engine:
    """A database with the initial schema and large tables."""
    return new_filled()
