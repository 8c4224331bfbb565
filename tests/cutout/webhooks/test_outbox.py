"""Taking deliveries, recording their results, giving up and deleting them."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout.enums import DeliveryState
from cutout.producers.producers import create_producer
from cutout.webhooks import INSTALLATION, announce
from cutout.webhooks import receivers as module
from cutout.webhooks.outbox import (
    MOST_TRIES_WITHOUT_EGRESS,
    Taken,
    delivered,
    failed,
    forget,
    give_up_old,
    take,
)
from cutout.webhooks.receivers import Receiver, Search, disprove, forget_receivers, prove
from tests.support.machine import scaled

REST = timedelta(seconds=5)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection whose statements commit by themselves, like the sender's."""
    with engine.connect() as opened:
        yield opened.execution_options(isolation_level="AUTOCOMMIT")


def announce_to(connection: Connection, *hosts: str) -> list[uuid.UUID]:
    return [announce(connection, url=f"https://{host}/hook", kind="x", data={}) for host in hosts]


def receiver(host: str, owner: uuid.UUID = INSTALLATION) -> Receiver:
    return Receiver(owner, host)


def taken_from(connection: Connection, host: str = "a.example", owner: uuid.UUID = INSTALLATION) -> Taken:
    taken = take(connection, receiver(host, owner))
    assert taken is not None
    return taken


def state_of(connection: Connection, delivery_id: uuid.UUID) -> tuple[str, int, int | None, str | None]:
    row = connection.execute(
        text("SELECT state, tries, last_status, last_error FROM deliveries WHERE id = :id"),
        {"id": delivery_id},
    ).one()
    return row.state, row.tries, row.last_status, row.last_error


def pass_time(connection: Connection, interval: str) -> None:
    """Let this much time pass for all deliveries."""
    moved = ", ".join(
        f"{column} = {column} - interval '{interval}'" for column in ("due_at", "give_up_at", "finished_at")
    )
    connection.execute(text(f"UPDATE deliveries SET {moved}"))  # noqa: S608 - a test's own words


def producers(engine: Engine, count: int) -> list[uuid.UUID]:
    with Session(engine) as session, session.begin():
        return [create_producer(session, str(n))[0].id for n in range(count)]


class TestADelivery:
    def test_is_taken_once(self, connection: Connection) -> None:
        """A second taker finds nothing until the lease is over, when the first has died."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        assert (taken.id, taken.tries, taken.host) == (its_id, 1, "a.example")
        assert take(connection, receiver("a.example")) is None
        pass_time(connection, "59 s")
        assert take(connection, receiver("a.example")) is None
        pass_time(connection, "2 s")
        assert taken_from(connection).id == its_id

    def test_is_passed_over_while_another_takes_it(self, connection: Connection, engine: Engine) -> None:
        """Two dispatchers that both believe to lead take different ones, and neither waits."""
        ids = announce_to(connection, "a.example", "a.example")
        with engine.connect() as other, other.begin():
            first = taken_from(other)
            second = taken_from(connection)
        assert {first.id, second.id} == set(ids)

    def test_that_was_delivered_is_done(self, connection: Connection) -> None:
        """The status is recorded; nothing is due any more."""
        (its_id,) = announce_to(connection, "a.example")
        delivered(connection, taken_from(connection), 202)
        assert state_of(connection, its_id) == ("delivered", 1, 202, None)
        pass_time(connection, "1 day")
        assert waiting_hosts(connection) == []

    def test_that_failed_is_due_after_its_delay(self, connection: Connection) -> None:
        """The failure is recorded."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        state = failed(connection, taken, "answered 500", status=500, delay=REST)
        assert state is DeliveryState.WAITING
        assert state_of(connection, its_id) == ("waiting", 1, 500, "answered 500")
        assert waiting_hosts(connection) == []
        pass_time(connection, "6 s")
        assert taken_from(connection).tries == 2

    def test_that_can_never_be_taken_is_given_up(self, connection: Connection) -> None:
        """Without a delay it is given up."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        assert failed(connection, taken, "refused", status=None, delay=None) is DeliveryState.GIVEN_UP
        assert state_of(connection, its_id) == ("given_up", 1, None, "refused")

    def test_is_given_up_once_a_day_is_over(self, connection: Connection) -> None:
        """A delay that would end past the day is not begun."""
        announce_to(connection, "a.example")
        failed(connection, taken_from(connection), "answered 500", status=500, delay=REST)
        pass_time(connection, "23:59:50")
        taken = taken_from(connection)
        rest = timedelta(seconds=30)
        assert failed(connection, taken, "answered 500", status=500, delay=rest) is DeliveryState.GIVEN_UP

    def test_is_not_given_up_while_the_egress_proxy_is_away(self, connection: Connection) -> None:
        """Its day begins anew with the next try, until the proxy may not be the reason any more."""
        (its_id,) = announce_to(connection, "a.example")
        failed(connection, taken_from(connection), "answered 500", status=500, delay=REST)
        pass_time(connection, "23:59:50")
        away = partial(failed, connection, reason="away", status=None, delay=timedelta(hours=2))
        assert away(taken_from(connection), egress_away=True) is DeliveryState.WAITING
        pass_time(connection, "2 days")
        assert give_up_old(connection) == 0
        assert away(taken_from(connection), egress_away=False) is DeliveryState.WAITING
        assert state_of(connection, its_id) == ("waiting", 3, None, "away")
        connection.execute(text("UPDATE deliveries SET tries = :most"), {"most": MOST_TRIES_WITHOUT_EGRESS})
        pass_time(connection, "23:59:50")
        assert away(taken_from(connection), egress_away=True) is DeliveryState.GIVEN_UP

    def test_is_recorded_only_by_its_present_taker(self, connection: Connection) -> None:
        """A sender whose lease is over and taken by another changes nothing."""
        (its_id,) = announce_to(connection, "a.example")
        late = taken_from(connection)
        pass_time(connection, "61 s")
        again = taken_from(connection)
        assert failed(connection, late, "too late", status=500, delay=None) is None
        delivered(connection, late, 200)
        assert state_of(connection, its_id) == ("waiting", 2, None, None)
        delivered(connection, again, 204)
        assert state_of(connection, its_id) == ("delivered", 2, 204, None)


class TestWhatWaitedForADay:
    def test_and_never_had_its_turn_is_sent(self, connection: Connection) -> None:
        """The day begins with the first try, so a receiver a day behind misses nothing."""
        (its_id,) = announce_to(connection, "a.example")
        pass_time(connection, "2 days")
        assert give_up_old(connection) == 0
        taken = taken_from(connection)
        assert taken.id == its_id
        failed(connection, taken, "answered 500", status=500, delay=REST)
        pass_time(connection, "23:59:50")
        assert taken_from(connection).id == its_id

    def test_since_its_first_try_is_given_up(self, connection: Connection) -> None:
        """It is given up a minute after the day, so that a try under way is recorded first."""
        (its_id,) = announce_to(connection, "a.example")
        taken_from(connection)
        pass_time(connection, "1 day")
        assert take(connection, receiver("a.example")) is None
        assert give_up_old(connection) == 0
        pass_time(connection, "61 s")
        assert give_up_old(connection) == 1
        assert state_of(connection, its_id) == ("given_up", 1, None, "a day is over")

    def test_keeps_the_reason_of_its_last_try(self, connection: Connection) -> None:
        """The last error says more than that the day is over."""
        (its_id,) = announce_to(connection, "a.example")
        failed(connection, taken_from(connection), "answered 500", status=500, delay=REST)
        pass_time(connection, "1 day 2 minutes")
        assert give_up_old(connection) == 1
        assert state_of(connection, its_id) == ("given_up", 1, 500, "answered 500")


class TestForgetting:
    def test_takes_what_ended_long_ago_and_no_more(self, connection: Connection) -> None:
        """A waiting message stays, however old."""
        announce_to(connection, *["a.example"] * 3)
        delivered(connection, taken_from(connection), 200)
        failed(connection, taken_from(connection), "refused", status=None, delay=None)
        kept = timedelta(days=30)
        pass_time(connection, "29 days")
        assert forget(connection, kept) == 0
        pass_time(connection, "2 days")
        assert forget(connection, kept) == 2
        assert connection.scalar(text("SELECT count(*) FROM deliveries WHERE state = 'waiting'")) == 1


def waiting_hosts(connection: Connection, search: Search | None = None) -> list[str]:
    return [found.receiver.host for found in (search or Search()).next(connection)]


class TestTheReceiversThatWait:
    def test_are_each_named_once(self, connection: Connection) -> None:
        """Each is found once, however many messages wait; those with only delayed messages are not due."""
        announce_to(connection, *["b.example"] * 5, "a.example", "c.example:8443")
        failed(connection, taken_from(connection), "answered 500", status=500, delay=REST)
        assert waiting_hosts(connection) == ["b.example", "c.example:8443"]

    def test_are_searched_in_portions(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any number of addresses costs little at a time; the search begins again after the last."""
        monkeypatch.setattr(module, "MOST_HOSTS", 2)
        monkeypatch.setattr(module, "LEAST_HOSTS", 1)
        announce_to(connection, "a.example", "b.example", "c.example")
        search = Search()
        looks = [waiting_hosts(connection, search) for _ in range(3)]
        assert looks == [["a.example", "b.example"], ["c.example"], ["a.example", "b.example"]]

    def test_are_found_at_once_beside_anothers_thousands(
        self, connection: Connection, engine: Engine
    ) -> None:
        """Each search has some receivers of every producer."""
        a, b = producers(engine, 2)
        for owner, count in ((a, 3000), (b, 1)):
            connection.execute(
                text(
                    "INSERT INTO deliveries (producer_id, url, type, payload) SELECT :owner,"
                    " 'https://' || n || '.example/', 'x', '{}' FROM generate_series(1, :n) n"
                ),
                {"owner": owner, "n": count},
            )
        search, seen = Search(), set()
        for _ in range(13):
            found = search.next(connection)
            assert sum(each.receiver.owner == b for each in found) == 1
            seen |= {each.receiver for each in found}
        assert len(seen) == 3001

    def test_of_many_producers_are_all_found(
        self, connection: Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Repeated searches find any number of receivers of each."""
        monkeypatch.setattr(module, "MOST_OWNERS", 3)
        monkeypatch.setattr(module, "LEAST_HOSTS", 1)
        monkeypatch.setattr(module, "MOST_HOSTS", 6)
        expected = set()
        for owner in producers(engine, 8):
            for n in range(4):
                announce(connection, url=f"https://{n}.example/", kind="x", data={}, producer_id=owner)
                expected.add(Receiver(owner, f"{n}.example"))
        search, seen = Search(), set()
        for _ in range(20):
            seen |= {each.receiver for each in search.next(connection)}
        assert seen == expected

    def test_say_whether_they_answered(self, connection: Connection) -> None:
        """The proof is for each producer apart, and is kept for the next leader, for some days."""
        announce_to(connection, "a.example", "b.example")
        for _ in range(2):
            prove(connection, receiver("a.example"))
        prove(connection, receiver("b.example", uuid.uuid4()))
        assert [found.proven for found in Search().next(connection)] == [True, False]
        assert forget_receivers(connection, timedelta(days=30)) == 0
        disprove(connection, receiver("a.example"))
        assert [found.proven for found in Search().next(connection)] == [False, False]
        connection.execute(text("UPDATE receivers SET proven_at = now() - interval '31 days'"))
        assert forget_receivers(connection, timedelta(days=30)) == 1

    def test_cost_the_same_whatever_waits_for_one(self, connection: Connection) -> None:
        """100,000 messages for a dead receiver are not read to find the next."""
        connection.execute(
            text(
                "INSERT INTO deliveries (url, type, payload)"
                " SELECT 'https://a.example/' || n, 'x', '{}' FROM generate_series(1, 100000) n"
            )
        )
        announce_to(connection, "b.example")
        connection.execute(text("VACUUM ANALYZE deliveries"))
        assert waiting_hosts(connection) == ["a.example", "b.example"]
        began = time.perf_counter()
        for _ in range(20):
            waiting_hosts(connection)
            taken_from(connection)
        assert (time.perf_counter() - began) / 20 < scaled(0.02)
