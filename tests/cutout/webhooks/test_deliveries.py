import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.enums import DeliveryState
from cutout.models import Delivery
from cutout.producers.producers import create_producer
from cutout.webhooks import INSTALLATION, announce, find_deliveries, replay
from cutout.webhooks.deliveries import MOST_ENDS
from cutout.webhooks.outbox import delivered, failed, take
from cutout.webhooks.receivers import Receiver

URL = "https://a.example/hook?token=x"


def announced(session: Session, producer_id: uuid.UUID | None = None) -> uuid.UUID:
    return announce(session, url=URL, kind="x", data={}, producer_id=producer_id)


def ids(found: Sequence[Delivery]) -> list[uuid.UUID]:
    return [delivery.id for delivery in found]


class TestFinding:
    def test_shows_a_producer_its_own(self, session: Session) -> None:
        """Deliveries are listed the latest first, page after page."""
        shop, other = (create_producer(session, name)[0].id for name in ("shop", "other"))
        own = [announced(session, shop) for _ in range(3)]
        announced(session, other)
        announced(session)
        first = find_deliveries(session, producer_id=shop, limit=2)
        assert ids(first) == [own[2], own[1]]
        assert ids(find_deliveries(session, producer_id=shop, before=own[1], limit=2)) == [own[0]]
        assert len(find_deliveries(session, limit=10)) == 5

    def test_may_be_of_one_state(self, session: Session) -> None:
        """Deliveries given up, for example."""
        first, second = announced(session), announced(session)
        taken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
        assert taken is not None
        failed(session.connection(), taken, "refused", status=None, delay=None)
        given_up = find_deliveries(session, state=DeliveryState.GIVEN_UP, limit=10)
        waiting = find_deliveries(session, state=DeliveryState.WAITING, limit=10)
        assert {*ids(given_up), *ids(waiting)} == {first, second}
        assert ids(given_up) == [taken.id]


class TestReplaying:
    def test_sends_again_under_the_same_id(self, session: Session) -> None:
        """A delivered or given up message waits again, for a day, with all its tries."""
        its_id = announced(session)
        taken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
        assert taken is not None
        delivered(session.connection(), taken, 200)
        session.execute(text("UPDATE deliveries SET give_up_at = now() - interval '1 day'"))
        again = replay(session, its_id)
        assert again is not None
        assert (again.id, again.state, again.tries, again.finished_at) == (its_id, "waiting", 0, None)
        retaken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
        assert retaken is not None
        fresh = session.scalar(text("SELECT give_up_at - now() = interval '1 day' FROM deliveries"))
        assert fresh is True
        assert (retaken.id, retaken.payload) == (its_id, taken.payload)

    def test_keeps_the_ends_before_it(self, session: Session) -> None:
        """Each with its tries, its answer or error, and when it was sent again; a wait is no end."""
        its_id = announced(session)
        assert replay(session, its_id)
        for status in (500, 204):
            taken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
            assert taken is not None
            if status == 500:
                failed(session.connection(), taken, "refused", status=status, delay=None)
            else:
                delivered(session.connection(), taken, status)
            assert replay(session, its_id)
        past = session.get_one(Delivery, its_id, populate_existing=True).past_ends or []
        assert [(each["state"], each["tries"], each["status"]) for each in past] == [
            ("given_up", 1, 500),
            ("delivered", 1, 204),
        ]
        assert past[0]["error"] == "refused"
        assert all(each["at"] <= each["again_at"] for each in past)

    def test_keeps_the_last_ends_alone(self, session: Session) -> None:
        """A message that is sent again and again does not grow."""
        its_id = announced(session)
        for status in range(200, 203 + MOST_ENDS):
            taken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
            assert taken is not None
            delivered(session.connection(), taken, status)
            assert replay(session, its_id)
        past = session.get_one(Delivery, its_id, populate_existing=True).past_ends or []
        assert [each["status"] for each in past] == list(range(203, 203 + MOST_ENDS))

    def test_voids_the_try_under_way(self, session: Session) -> None:
        """The answer to the try under way is not recorded: the replay came after it."""
        its_id = announced(session)
        taken = take(session.connection(), Receiver(INSTALLATION, "a.example"))
        assert taken is not None
        assert replay(session, its_id)
        delivered(session.connection(), taken, 200)
        assert session.get_one(Delivery, its_id, populate_existing=True).state == "waiting"

    def test_is_for_its_owner(self, session: Session) -> None:
        """Another producer's id is treated as missing."""
        shop, other = (create_producer(session, name)[0].id for name in ("shop", "other"))
        its_id = announced(session, shop)
        assert replay(session, its_id, producer_id=other) is None
        assert replay(session, uuid.uuid4()) is None
        assert replay(session, its_id, producer_id=shop)
