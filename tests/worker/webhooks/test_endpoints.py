"""Real messages to real endpoints: their secrets, and the end of an endpoint."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.administration import suspend as suspending
from cutout.models import WebhookEndpoint
from cutout.producers.producers import create_producer
from cutout.settings import Settings
from cutout.webhooks import announce, replay, rotate, secret_of
from cutout.webhooks.endpoint_health import disable_failing, note_failure, note_success
from cutout.webhooks.endpoints import (
    NewEndpoint,
    add_endpoint,
    change_endpoint,
    find_endpoint,
    remove_endpoint,
    send_test,
)
from cutout.webhooks.event_types import EventType
from tests.support.connect_proxy import ConnectProxy, Way
from tests.support.receiver import Receiver
from tests.worker.webhooks.test_notifier import MASTER, Running, counts
from tests.worker.webhooks.test_notifier import receiver as receiver  # noqa: PLC0414 - the same fixture
from tests.worker.webhooks.test_notifier import running as running  # noqa: PLC0414 - the same fixture
from tests.worker.webhooks.test_notifier import settings as settings  # noqa: PLC0414 - the same fixture


class Shop:
    """A producer and its endpoints."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with Session(engine) as session, session.begin():
            self.id = create_producer(session, "shop")[0].id

    def add(self, url: str) -> uuid.UUID:
        with Session(self._engine) as session, session.begin():
            return add_endpoint(session, self.id, NewEndpoint(url, [EventType.ALL])).id

    def get(self, endpoint_id: uuid.UUID) -> WebhookEndpoint:
        with Session(self._engine) as session:
            found = find_endpoint(session, self.id, endpoint_id)
        assert found is not None
        return found

    def send(self, endpoint_id: uuid.UUID, count: int = 1) -> list[str]:
        with Session(self._engine) as session, session.begin():
            endpoint = find_endpoint(session, self.id, endpoint_id)
            assert endpoint is not None
            return [str(send_test(session, endpoint).id) for _ in range(count)]

    def change(self, endpoint_id: uuid.UUID, **changes: Any) -> None:
        with Session(self._engine) as session, session.begin():
            endpoint = find_endpoint(session, self.id, endpoint_id, lock=True)
            assert endpoint is not None
            change_endpoint(session, endpoint, changes)

    def remove(self, endpoint_id: uuid.UUID) -> None:
        with Session(self._engine) as session, session.begin():
            endpoint = find_endpoint(session, self.id, endpoint_id, lock=True)
            assert endpoint is not None
            remove_endpoint(session, endpoint)


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as second:
        yield second


def errors(engine: Engine) -> set[str | None]:
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT last_error FROM deliveries")))


class TestAnEndpoint:
    def test_has_a_secret_of_its_own(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop
    ) -> None:
        """Messages of the same producer to another address have the producer's; two sign after a rotation."""
        endpoint_id = shop.add(receiver.url("/endpoint"))
        with engine.begin() as connection:
            rotate(connection, endpoint_id)
            announce(connection, url=receiver.url("/own"), kind="x", data={}, producer_id=shop.id)
        shop.send(endpoint_id)
        running.until(lambda: counts(engine) == {"delivered": 2})
        messages = {message.path: message for message in receiver.messages}
        for version in (1, 2):
            messages["/endpoint"].verify(secret_of(MASTER, endpoint_id, version))
        messages["/own"].verify(secret_of(MASTER, shop.id, 1))
        with pytest.raises(Exception, match="No matching signature"):
            messages["/endpoint"].verify(secret_of(MASTER, shop.id, 1))

    def test_with_another_address_gets_what_waits_there(
        self, running: Running, engine: Engine, receiver: Receiver, other: Receiver, shop: Shop
    ) -> None:
        """Under the same ids, signed with the same secret; nothing more goes to the former address."""
        endpoint_id = shop.add(receiver.url("/former?token=quirk"))
        ids = shop.send(endpoint_id, 30)
        shop.change(endpoint_id, url=other.url("/present"))
        running.until(lambda: counts(engine) == {"delivered": 30})
        assert receiver.messages == []
        assert sorted(message.id for message in other.messages) == sorted(ids)
        other.messages[0].verify(secret_of(MASTER, endpoint_id, 1))
        with engine.connect() as connection:
            assert set(connection.scalars(text("SELECT tries FROM deliveries"))) == {1}

    @pytest.mark.parametrize("how", ["disabled", "removed"])
    def test_that_is_no_more_is_sent_nothing(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop, how: str
    ) -> None:
        """Its messages are given up with the reason; another endpoint of the same host gets its own."""
        gone, kept = shop.add(receiver.url("/gone")), shop.add(receiver.url("/kept"))
        ids = shop.send(gone, 20)
        (kept_id,) = shop.send(kept)
        if how == "disabled":
            shop.change(gone, enabled=False)
        else:
            shop.remove(gone)
        running.until(lambda: counts(engine) == {"given_up": 20, "delivered": 1})
        assert [message.id for message in receiver.messages] == [kept_id]
        assert errors(engine) == {None, "its endpoint is disabled or deleted"}
        if how == "disabled":
            shop.change(gone, enabled=True)
        with Session(engine) as session, session.begin():
            assert replay(session, uuid.UUID(ids[0]))
        ends = "delivered" if how == "disabled" else "given_up"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            state = text("SELECT state FROM deliveries WHERE id = :id")
            running.until(lambda: connection.scalar(state, {"id": ids[0]}) == ends)
        assert len(receiver.messages) == (2 if how == "disabled" else 1)

    def test_that_answers_410_is_disabled_and_the_others_are_told(
        self, running: Running, engine: Engine, receiver: Receiver, other: Receiver, shop: Shop
    ) -> None:
        """At once, with the reason; another endpoint of the producer is told, and not of the token."""
        receiver.always = 410
        gone, kept = shop.add(receiver.url("/gone?token=quirk")), shop.add(other.url())
        shop.send(gone, 30)
        running.until(lambda: counts(engine) == {"given_up": 30, "delivered": 1}, within_s=60.0)
        assert len(receiver.messages) < 30
        (message,) = other.messages
        message.verify(secret_of(MASTER, kept, 1))
        told = json.loads(message.body)
        assert (told["type"], told["data"]["endpoint_id"]) == ("webhook.disabled", str(gone))
        assert (told["data"]["reason"], told["data"]["host"]) == ("gone", receiver.host)
        assert b"quirk" not in message.body
        assert shop.get(gone).disabled_reason == "gone"
        assert shop.get(kept).disabled_at is None
        shop.change(gone, enabled=True)
        assert (shop.get(gone).disabled_at, shop.get(gone).failing_since) == (None, None)

    def test_that_leads_inside_is_never_connected_to(
        self, settings: Settings, engine: Engine, receiver: Receiver, shop: Shop
    ) -> None:
        """Its address is resolved and judged again at each send, whatever was stored."""
        running = Running(settings.model_copy(update={"webhook_private_hosts": ()}), engine)
        endpoint_id = shop.add(f"https://{receiver.host}/hook")
        shop.send(endpoint_id)
        running.until(lambda: counts(engine) == {"given_up": 1})
        running.end()
        assert receiver.messages == []
        assert shop.get(endpoint_id).failing_since is not None

    def test_of_a_suspended_producer_is_sent_nothing(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop
    ) -> None:
        """Until the producer is resumed."""
        endpoint_id = shop.add(receiver.url())
        with Session(engine) as session, session.begin():
            assert suspending.suspend(session, shop.id)
        shop.send(endpoint_id)
        with engine.begin() as connection:
            announce(connection, url=receiver.url("/installation"), kind="x", data={})
        running.until(lambda: counts(engine) == {"delivered": 1, "waiting": 1})
        with Session(engine) as session, session.begin():
            assert suspending.resume(session, shop.id)
        running.until(lambda: counts(engine) == {"delivered": 2})

    def test_is_tried_again_if_the_dispatcher_died_before_its_record(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop
    ) -> None:
        """A message that it had taken goes out after its lease, unless its endpoint is disabled by then."""
        kept, off = shop.add(receiver.url("/kept")), shop.add(receiver.url("/off"))
        (kept_id,), _ = shop.send(kept), shop.send(off)
        with engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET tries = 1, due_at = now() + interval '1.5 s'"))
        shop.change(off, enabled=False)
        running.until(lambda: counts(engine) == {"delivered": 1, "given_up": 1})
        assert [message.id for message in receiver.messages] == [kept_id]


class TestAnEndpointThatFails:
    def age(self, engine: Engine, days: float) -> None:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE webhook_endpoints SET failing_since = failing_since - :days * interval '1 day'"),
                {"days": days},
            )

    def give_up(self, engine: Engine, ago: str) -> None:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE deliveries SET state = 'given_up', finished_at = now() - CAST(:ago AS interval),"
                    " last_error = 'x' WHERE state = 'waiting'"
                ),
                {"ago": ago},
            )

    def test_says_since_when_until_it_accepts(
        self,
        running: Running,
        engine: Engine,
        receiver: Receiver,
        shop: Shop,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The first failure is kept, one success ends it."""
        monkeypatch.setattr("worker.webhooks.responses.DELAYS_S", (1.0,))
        receiver.answers = [500]
        endpoint_id = shop.add(receiver.url())
        shop.send(endpoint_id)
        running.until(lambda: shop.get(endpoint_id).failing_since is not None)
        with engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET due_at = now()"))
        running.until(lambda: counts(engine) == {"delivered": 1})
        assert shop.get(endpoint_id).failing_since is None

    @pytest.mark.parametrize(("way", "fails"), [(Way.DROP, False), (407, False), (502, False), (403, True)])
    def test_is_not_one_that_our_own_proxy_does_not_reach(
        self, settings: Settings, engine: Engine, shop: Shop, way: Way | int, *, fails: bool
    ) -> None:
        """An outage of the egress proxy says nothing of an endpoint; its refusal of one server does."""
        with ConnectProxy({}) as proxy:
            proxy.way = way
            running = Running(settings.model_copy(update={"egress_proxy": SecretStr(proxy.url)}), engine)
            endpoint_id = shop.add("https://93.184.216.34/hook")
            shop.send(endpoint_id)
            running.until(lambda: errors(engine) != {None})
            running.end()
        assert (shop.get(endpoint_id).failing_since is not None) == fails
        with engine.connect() as connection:
            day_runs = connection.scalar(text("SELECT give_up_at IS NOT NULL FROM deliveries"))
        assert day_runs == fails
        assert counts(engine) == {"waiting": 1}

    def test_says_nothing_of_its_present_address_after_a_late_answer_of_the_former(
        self, engine: Engine, shop: Shop
    ) -> None:
        """A try that was under way when the address changed neither marks the endpoint nor clears it."""
        endpoint_id = shop.add("https://a.example/former")
        shop.change(endpoint_id, url="https://a.example/present")
        with engine.begin() as connection:
            note_failure(connection, endpoint_id, "https://a.example/former")
        assert shop.get(endpoint_id).failing_since is None
        with engine.begin() as connection:
            note_failure(connection, endpoint_id, "https://a.example/present")
        with engine.begin() as connection:
            note_success(connection, endpoint_id, "https://a.example/former")
        assert shop.get(endpoint_id).failing_since is not None

    def test_for_five_days_is_disabled(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop
    ) -> None:
        """By the dispatcher, once a message is given up after that time."""
        receiver.always = 500
        endpoint_id = shop.add(receiver.url())
        shop.send(endpoint_id)
        running.until(lambda: shop.get(endpoint_id).failing_since is not None)
        self.age(engine, 5.1)
        running._notifier._prune_at = 0.0
        running.until(lambda: running._notifier._prune_at > 0)
        assert shop.get(endpoint_id).disabled_at is None
        self.give_up(engine, "0 s")
        running._notifier._prune_at = 0.0
        running.until(lambda: shop.get(endpoint_id).disabled_at is not None)
        assert shop.get(endpoint_id).disabled_reason == "failing"

    @pytest.mark.parametrize(("days", "ago"), [(4.9, "0 s"), (5.1, "4 days")])
    def test_for_less_or_in_silence_is_not_disabled(
        self, running: Running, engine: Engine, receiver: Receiver, shop: Shop, *, days: float, ago: str
    ) -> None:
        """A message given up days ago and none since is no proof for today."""
        receiver.always = 500
        endpoint_id = shop.add(receiver.url())
        shop.send(endpoint_id)
        running.until(lambda: shop.get(endpoint_id).failing_since is not None)
        running._notifier.finish(5.0)
        self.age(engine, days)
        self.give_up(engine, ago)
        with engine.connect() as connection:
            assert disable_failing(connection) == []
        assert shop.get(endpoint_id).disabled_at is None


def test_two_installations_derive_different_secrets() -> None:
    """A secret needs the master secret, the endpoint and the version."""
    endpoint_id = uuid.uuid4()
    secrets = {
        secret_of(master, owner, version)
        for master in (MASTER, SecretStr("n" * 40))
        for owner in (endpoint_id, uuid.uuid4())
        for version in (1, 2)
    }
    assert len(secrets) == 8
