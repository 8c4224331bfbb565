import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.actions import Actor, Asked
from cutout.enums import Role
from cutout.producers.producers import create_producer
from cutout.queue.attempts.outcomes import Fail, Hold
from tests.support.fates import Fates, make_batch

BROKEN = Fail("SOURCE_UNAVAILABLE", "that server did not answer")
SMALL = Fail("IMAGE_TOO_SMALL", "send larger pictures")
HELD = Hold("NO_ANSWER", "the connection broke")

MakeBatch = Callable[[Fates], uuid.UUID]


def operator(name: str = "ana", *scopes: str) -> Actor:
    """An operator with an own key, who may do everything unless scopes are given."""
    return Actor(Role.OPERATOR, name, uuid.uuid5(uuid.NAMESPACE_URL, name), scopes=scopes or ("spend",))


@pytest.fixture
def shop(engine: Engine) -> uuid.UUID:
    """A producer."""
    with Session(engine) as session, session.begin():
        return create_producer(session, "shop")[0].id


@pytest.fixture
def ana() -> Asked:
    """A request of an operator who may do everything."""
    return Asked(operator("ana"))


def set_(engine: Engine, statement: str, **values: object) -> int:
    """Run a statement; returns the number of rows that it changed."""
    with engine.begin() as connection:
        return int(connection.execute(text(statement), values).rowcount)


def batch_of(engine: Engine, fates: Fates, producer_id: uuid.UUID | None = None) -> uuid.UUID:
    """A batch whose jobs ended so."""
    return make_batch(engine, fates, producer_id=producer_id)
