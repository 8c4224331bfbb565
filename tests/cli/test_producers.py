import uuid

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.producers.producers import create_producer
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from tests.cli.command import Cutout

SOURCE = "https://shop.example/a.jpg"


@pytest.fixture
def shop(engine: Engine) -> str:
    """A producer with three queued jobs."""
    with Session(engine) as session, session.begin():
        producer, _ = create_producer(session, "[/shop]")
        batch = create_batch(session, "b", producer_id=producer.id)
        enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(3)], batch_id=batch.id)
        return str(producer.id)


class TestProducers:
    def test_are_suspended_and_resumed(self, cutout: Cutout, engine: Engine, shop: str) -> None:
        """Each command says what goes on or waits and how to undo it; a second time changes nothing."""
        ran = cutout("producers", "suspend", shop)
        assert ran.code == 0
        said = "3 jobs queued, 0 running, 0 held, 0 manifests to read, 0 schedules, 0 messages to send"
        assert ran.stdout.splitlines() == [
            f"{shop} is suspended, with {said}",
            f"`cutout producers resume {shop}` lets it go on",
        ]
        assert cutout("producers", "suspend", shop).code == 1
        listed = cutout("producers", "list").stdout.split()
        assert (listed[0], listed[2:]) == (shop, ["suspended", "no", "limits", "[/shop]"])
        assert "suspended since 20" in cutout("producers", "show", shop).stdout
        with engine.connect() as connection:
            job_id = connection.scalar(text("SELECT id FROM jobs LIMIT 1"))
        assert cutout("explain", str(job_id)).code == 0
        assert cutout("producers", "resume", shop).stdout == f"{shop} continues, with {said}\n"
        assert cutout("producers", "resume", shop).code == 1
        for command in ("suspend", "resume", "show", "limit"):
            options = ("--share", "2") if command == "limit" else ()
            assert cutout("producers", command, str(uuid.UUID(int=1)), *options).code == 2

    def test_are_bounded(self, cutout: Cutout, shop: str) -> None:
        """Each bound is set and lifted alone, and shown."""
        options = ("--quota", "1000", "--priority", "normal", "--weight", "2.5", "--share", "3")
        ran = cutout("producers", "limit", shop, *options)
        bounds = "a quota of 1,000 jobs, priority normal at best, weight 2.5 at most, a share of 3"
        assert ran.stdout == f"{shop} has {bounds}\n"
        assert bounds in cutout("producers", "list").stdout
        ran = cutout("producers", "limit", shop, "--priority", "none", "--weight", "none", "--quota", "none")
        assert ran.stdout == f"{shop} has a share of 3\n"
        assert cutout("producers", "limit", shop, "--share", "1").stdout == f"{shop} has no limits\n"

    @pytest.mark.parametrize(
        "options",
        [
            (),
            ("--quota", "-1"),
            ("--quota", "9" * 20),
            ("--weight", "0"),
            ("--weight", "nan"),
            ("--weight", "inf"),
            ("--share", "0"),
            ("--priority", "urgent"),
        ],
    )
    def test_want_bounds_that_can_be(self, cutout: Cutout, shop: str, options: tuple[str, ...]) -> None:
        """Any other value is refused in one line."""
        assert cutout("producers", "limit", shop, *options).code == 2


class TestRevoking:
    def test_the_last_key_says_what_goes_on(self, cutout: Cutout, shop: str) -> None:
        """With the command that stops it; not while another key is valid."""
        second = cutout("keys", "make", "reports", "--producer", shop).stdout.split()[0]
        ran = cutout("keys", "revoke", second)
        assert ran.stdout == f"{second} is revoked\n"
        ran = cutout("keys", "revoke", shop)
        first, goes_on = ran.stdout.splitlines()
        assert first == f"{shop} is revoked"
        assert "has no valid key any more, and continues with 3 jobs queued" in goes_on
        assert goes_on.endswith(f"`cutout producers suspend {shop}` stops that")
