import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.models import Result
from cutout.producers.producers import create_producer
from cutout.queue.attempts.outcomes import Hold, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.reuse.acquire import Acquired, BoughtBefore, TakenByOther
from tests.support.steps import MAKING, SOURCE, SOURCE_SHA256, claim_one, new_worker, paid

SHA256 = SOURCE_SHA256


def claims(engine: Engine, count: int) -> list[Claim]:
    """Claims of so many jobs for one picture."""
    with Session(engine) as session, session.begin():
        worker_id: uuid.UUID = new_worker(session)
        for _ in range(count):
            enqueue(session, NewJob(SOURCE))
        return [claim_one(session, worker_id) for _ in range(count)]


def take(engine: Engine, claim: Claim, sha256: bytes = SHA256) -> Acquired | TakenByOther | BoughtBefore:
    with Session(engine) as session, session.begin():
        return queue.acquire_result(session, claim, sha256, MAKING)


class TestTwoJobsForOnePicture:
    def test_that_acquire_at_the_same_time_do_not_both_buy(self, engine: Engine) -> None:
        """The second waits for the first one's row, which was not visible when its statement began."""
        first, second = claims(engine, 2)
        with ThreadPoolExecutor(1) as pool:
            with Session(engine) as session, session.begin():
                assert queue.acquire_result(session, first, SHA256, MAKING) == Acquired()
                asked = pool.submit(take, engine, second)
                time.sleep(0.5)
                assert not asked.done()
            assert asked.result(10) == TakenByOther(first.job_id)

    def test_are_distinguished_from_jobs_for_other_pictures(self, engine: Engine) -> None:
        """Purchases of other pictures do not matter to this one, whose buyer is gone."""
        first, second, other = claims(engine, 3)
        assert take(engine, first) == Acquired()
        assert take(engine, other, b"o" * 32) == Acquired()
        with Session(engine) as session, session.begin():
            queue.settle(session, first, Hold("LOOK", "for a person"))
        assert take(engine, second) == Acquired()

    def test_do_not_wait_for_one_that_is_blocked(self, engine: Engine) -> None:
        """Its batch is paused or outside its window, perhaps for hours: the next one buys."""
        first, second = claims(engine, 2)
        assert take(engine, first) == Acquired()
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE jobs SET state = 'queued', queue_state = 'blocked', worker_id = NULL"
                    " WHERE id = :id"
                ),
                {"id": first.job_id},
            )
        assert take(engine, second) == Acquired()

    def test_leave_it_to_the_first_one(self, engine: Engine) -> None:
        """However often they try; the buyer itself may try again."""
        first, second = claims(engine, 2)
        assert [take(engine, claim) for claim in (first, second, first, second)] == [
            Acquired(),
            TakenByOther(first.job_id),
            Acquired(),
            TakenByOther(first.job_id),
        ]


def test_the_publisher_is_the_owner(session: Session) -> None:
    """A's result arrives after B became the buyer: the object is A's own, and not B's."""
    a, b = (create_producer(session, name)[0].id for name in ("a", "b"))
    worker_id = new_worker(session)
    for owner in (a, b, a, b):
        enqueue(session, NewJob(SOURCE), producer_id=owner)
    late, buyer, *others = (claim_one(session, worker_id) for _ in range(4))
    assert queue.acquire_result(session, late, SHA256, MAKING) == Acquired()
    late = paid(session, late, source_sha256=SHA256)
    session.execute(text("UPDATE bought_results SET buyer = :id"), {"id": buyer.job_id})
    stored = StoredObject("cutouts/of-a.png", b"c" * 32, "image/png", 1, 2, 3)
    assert queue.settle(session, late, Succeeded(stored, bucket=MAKING.bucket))
    assert session.query(Result).one().buyer == late.job_id
    seen = [queue.acquire_result(session, each, SHA256, MAKING) for each in (*others, buyer)]
    assert [isinstance(each, BoughtBefore) and each.is_own for each in seen] == [True, False, False]
