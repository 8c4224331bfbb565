"""Messages of a suspended producer: kept, not sent, not given up, and sent once it is resumed."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout.administration import suspend as suspending
from cutout.enums import DeliveryState
from cutout.producers.producers import create_producer
from cutout.webhooks import outbox
from cutout.webhooks.outbox import delivered, failed, give_up_old, take
from cutout.webhooks.receivers import Receiver, Search
from tests.cutout.webhooks.test_outbox import connection as connection  # noqa: PLC0414 - the same fixture
from tests.cutout.webhooks.test_outbox import pass_time, state_of, taken_from

HOST = "a.example"


@pytest.fixture
def shop(engine: Engine) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return create_producer(session, "shop")[0].id


def announce_for(connection: Connection, producer_id: uuid.UUID | None, count: int = 1) -> list[uuid.UUID]:
    made = (
        "SELECT announce('https://a.example/hook', 'x', '{}', CAST(:id AS uuid)) FROM generate_series(1, :n)"
    )
    return list(connection.scalars(text(made), {"id": producer_id, "n": count}))


def suspend(engine: Engine, producer_id: uuid.UUID) -> None:
    with Session(engine) as session, session.begin():
        assert suspending.suspend(session, producer_id)


def resume(engine: Engine, producer_id: uuid.UUID) -> None:
    with Session(engine) as session, session.begin():
        assert suspending.resume(session, producer_id)


def test_are_sent_once_it_is_resumed(connection: Connection, engine: Engine, shop: uuid.UUID) -> None:
    """Earlier and new messages are sent untried, each with a whole day."""
    before = announce_for(connection, shop, 2)
    suspend(engine, shop)
    assert not Search().next(connection)
    meanwhile = announce_for(connection, shop, 3)
    assert take(connection, Receiver(shop, HOST)) is None
    assert not Search().next(connection)
    for _ in range(3):
        pass_time(connection, "26 hours")
        assert take(connection, Receiver(shop, HOST)) is None
        assert give_up_old(connection) == 0
    resume(engine, shop)
    taken = [taken_from(connection, owner=shop) for _ in range(5)]
    assert {each.id for each in taken} == {*before, *meanwhile}
    assert {each.tries for each in taken} == {1}
    pass_time(connection, "23 hours")
    assert give_up_old(connection) == 0


def test_delay_no_other_message(connection: Connection, engine: Engine, shop: uuid.UUID) -> None:
    """Another's message is taken at once behind a thousand of them for the same receiver."""
    suspend(engine, shop)
    announce_for(connection, shop, 1000)
    (others,) = announce_for(connection, None)
    assert taken_from(connection).id == others
    assert take(connection, Receiver(shop, HOST)) is None


def test_that_were_tried_before_are_not_given_up(
    connection: Connection, engine: Engine, shop: uuid.UUID
) -> None:
    """Their day begins again."""
    (its_id,) = announce_for(connection, shop)
    failed(connection, taken_from(connection, owner=shop), "no", status=500, delay=timedelta(seconds=1))
    pass_time(connection, "23 hours 58 min")
    suspend(engine, shop)
    pass_time(connection, "25 hours")
    assert give_up_old(connection) == 0
    resume(engine, shop)
    assert taken_from(connection, owner=shop).id == its_id
    assert state_of(connection, its_id)[0] == DeliveryState.WAITING


def test_that_are_being_sent_may_come_twice(connection: Connection, engine: Engine, shop: uuid.UUID) -> None:
    """A message that was being sent is sent again under its id; none is lost."""
    announce_for(connection, shop)
    out = taken_from(connection, owner=shop)
    suspend(engine, shop)
    delivered(connection, out, 200)
    assert failed(connection, out, "no", status=500, delay=None) is None
    resume(engine, shop)
    again = taken_from(connection, owner=shop)
    assert again.id == out.id
    delivered(connection, again, 200)
    assert state_of(connection, out.id)[0] == DeliveryState.DELIVERED
    assert outbox.take(connection, Receiver(shop, HOST)) is None
