"""Taking, writing down, giving up and forgetting."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from jobs.states import DeliveryState
from jobs.webhooks import announce, sending
from jobs.webhooks.sending import (
    Taken,
    delivered,
    failed,
    forget,
    give_up_old,
    take,
    waiting_hosts,
)
from tests.support.machine import scaled

REST = timedelta(seconds=5)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """One whose statements commit by themselves, as the sender's do."""
    with engine.connect() as opened:
        yield opened.execution_options(isolation_level="AUTOCOMMIT")


def announce_to(connection: Connection, *hosts: str) -> list[uuid.UUID]:
    return [announce(connection, url=f"https://{host}/hook", kind="x", data={}) for host in hosts]


def taken_from(connection: Connection, host: str = "a.example") -> Taken:
    taken = take(connection, host)
    assert taken is not None
    return taken


def state_of(connection: Connection, delivery_id: uuid.UUID) -> tuple[str, int, int | None, str | None]:
    row = connection.execute(
        text("SELECT state, tries, last_status, last_error FROM deliveries WHERE id = :id"),
        {"id": delivery_id},
    ).one()
    return row.state, row.tries, row.last_status, row.last_error


def pass_time(connection: Connection, interval: str) -> None:
    """Let so much time go by for all deliveries."""
    moved = ", ".join(
        f"{column} = {column} - interval '{interval}'" for column in ("due_at", "give_up_at", "finished_at")
    )
    connection.execute(text(f"UPDATE deliveries SET {moved}"))  # noqa: S608 - a test's own words


class TestADelivery:
    def test_is_taken_once(self, connection: Connection) -> None:
        """Whoever comes second finds nothing, until the lease is over: then nobody lived to tell."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        assert (taken.id, taken.tries, taken.host) == (its_id, 1, "a.example")
        assert take(connection, "a.example") is None
        pass_time(connection, "59 s")
        assert take(connection, "a.example") is None
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
        """With the status; nothing of it is due any more."""
        (its_id,) = announce_to(connection, "a.example")
        delivered(connection, taken_from(connection), 202)
        assert state_of(connection, its_id) == ("delivered", 1, 202, None)
        pass_time(connection, "1 day")
        assert waiting_hosts(connection) == ([], "")

    def test_that_failed_is_due_after_its_rest(self, connection: Connection) -> None:
        """And says how it failed."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        state = failed(connection, taken, "answered 500", status=500, rest=REST)
        assert state is DeliveryState.WAITING
        assert state_of(connection, its_id) == ("waiting", 1, 500, "answered 500")
        assert waiting_hosts(connection) == ([], "")
        pass_time(connection, "6 s")
        assert taken_from(connection).tries == 2

    def test_that_can_never_be_taken_is_given_up(self, connection: Connection) -> None:
        """No rest means never."""
        (its_id,) = announce_to(connection, "a.example")
        taken = taken_from(connection)
        assert failed(connection, taken, "refused", status=None, rest=None) is DeliveryState.GIVEN_UP
        assert state_of(connection, its_id) == ("given_up", 1, None, "refused")

    def test_is_given_up_once_a_day_is_over(self, connection: Connection) -> None:
        """A rest that would end past the day is not begun."""
        announce_to(connection, "a.example")
        failed(connection, taken_from(connection), "answered 500", status=500, rest=REST)
        pass_time(connection, "23:59:50")
        taken = taken_from(connection)
        rest = timedelta(seconds=30)
        assert failed(connection, taken, "answered 500", status=500, rest=rest) is DeliveryState.GIVEN_UP

    def test_is_written_down_by_whoever_has_it(self, connection: Connection) -> None:
        """One whose lease was over and who was overtaken changes nothing."""
        (its_id,) = announce_to(connection, "a.example")
        late = taken_from(connection)
        pass_time(connection, "61 s")
        again = taken_from(connection)
        assert failed(connection, late, "too late", status=500, rest=None) is None
        delivered(connection, late, 200)
        assert state_of(connection, its_id) == ("waiting", 2, None, None)
        delivered(connection, again, 204)
        assert state_of(connection, its_id) == ("delivered", 2, 204, None)


class TestWhatWaitedForADay:
    def test_and_never_had_its_turn_is_sent(self, connection: Connection) -> None:
        """Its day begins with its first try: a receiver behind by a day misses nothing."""
        (its_id,) = announce_to(connection, "a.example")
        pass_time(connection, "2 days")
        assert give_up_old(connection) == 0
        taken = taken_from(connection)
        assert taken.id == its_id
        failed(connection, taken, "answered 500", status=500, rest=REST)
        pass_time(connection, "23:59:50")
        assert taken_from(connection).id == its_id

    def test_since_its_first_try_is_given_up(self, connection: Connection) -> None:
        """A minute after the day, so that what is out then is written down first."""
        (its_id,) = announce_to(connection, "a.example")
        taken_from(connection)
        pass_time(connection, "1 day")
        assert take(connection, "a.example") is None
        assert give_up_old(connection) == 0
        pass_time(connection, "61 s")
        assert give_up_old(connection) == 1
        assert state_of(connection, its_id) == ("given_up", 1, None, "a day is over")

    def test_keeps_the_reason_of_its_last_try(self, connection: Connection) -> None:
        """Which says more than that the day is over."""
        (its_id,) = announce_to(connection, "a.example")
        failed(connection, taken_from(connection), "answered 500", status=500, rest=REST)
        pass_time(connection, "1 day 2 minutes")
        assert give_up_old(connection) == 1
        assert state_of(connection, its_id) == ("given_up", 1, 500, "answered 500")


class TestForgetting:
    def test_takes_what_ended_long_ago_and_no_more(self, connection: Connection) -> None:
        """What waits stays, however old."""
        announce_to(connection, *["a.example"] * 3)
        delivered(connection, taken_from(connection), 200)
        failed(connection, taken_from(connection), "refused", status=None, rest=None)
        kept = timedelta(days=30)
        pass_time(connection, "29 days")
        assert forget(connection, kept) == 0
        pass_time(connection, "2 days")
        assert forget(connection, kept) == 2
        assert connection.scalar(text("SELECT count(*) FROM deliveries WHERE state = 'waiting'")) == 1


class TestTheHostsThatWait:
    def test_are_each_named_once(self, connection: Connection) -> None:
        """However many messages wait for them; those whose messages all rest are not due."""
        announce_to(connection, *["b.example"] * 5, "a.example", "c.example:8443")
        failed(connection, taken_from(connection), "answered 500", status=500, rest=REST)
        assert waiting_hosts(connection) == (["b.example", "c.example:8443"], "")

    def test_are_looked_at_in_portions(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that any number of addresses costs little at a time; and begun anew after the last."""
        monkeypatch.setattr(sending, "MOST_HOSTS", 2)
        announce_to(connection, "a.example", "b.example", "c.example")
        first, after = waiting_hosts(connection)
        rest, last = waiting_hosts(connection, after)
        assert (first, rest, last) == (["a.example", "b.example"], ["c.example"], "")

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
        assert waiting_hosts(connection)[0] == ["a.example", "b.example"]
        began = time.perf_counter()
        for _ in range(20):
            waiting_hosts(connection)
            taken_from(connection)
        assert (time.perf_counter() - began) / 20 < scaled(0.02)
