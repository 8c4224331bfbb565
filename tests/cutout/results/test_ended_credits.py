"""The credits of an ended batch, which are written down so that a list need not count them."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cutout.models import Attempt, Batch
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.queue.settle import settle
from cutout.results import keep_results
from cutout.status import batch_credits
from cutout.status.batch_credits import credits_of_batch, write_down_credits
from cutout.storage import Bucket
from tests.support.fates import DONE
from tests.support.steps import SOURCE, begin, claim_one, new_worker, paid, record
from tests.support.system import wait_until

FAILED = Fail("BROKEN", "m")
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LOCK = "SELECT FROM batches WHERE id = :id FOR UPDATE"


def credits_of(engine: Engine, batch_id: uuid.UUID) -> int | None:
    with Session(engine) as session:
        return session.get_one(Batch, batch_id).credits


def called(engine: Engine) -> tuple[uuid.UUID, Claim, int]:
    """A batch whose job failed while the answer to its call was under way."""
    with Session(engine) as session, session.begin():
        batch_id = create_batch(session, "b").id
        enqueue(session, NewJob(SOURCE, "a"), batch_id=batch_id)
        claim = claim_one(session, new_worker(session))
        attempt_id = begin(session, claim)
        settle(session, claim, FAILED)
    return batch_id, claim, attempt_id


def is_waiting(engine: Engine) -> Callable[[], bool]:
    def asked() -> bool:
        with engine.connect() as connection:
            return connection.execute(text(WAITING)).first() is not None

    return asked


def answer(engine: Engine, claim: Claim, attempt_id: int) -> None:
    """The charge that was under way, recorded as a worker does: each statement commits by itself."""
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        record(session, claim, attempt_id)


def test_are_written_with_the_results(engine: Engine, bucket: Bucket) -> None:
    """The calls of its jobs that were charged, and of no other's."""
    with Session(engine) as session, session.begin():
        worker_id = new_worker(session)
        batch_id = create_batch(session, "b").id
        for name, owner in (("a", batch_id), ("b", batch_id), ("other", None)):
            enqueue(session, NewJob(SOURCE, name), batch_id=owner)
            settle(session, paid(session, claim_one(session, worker_id)), DONE)
    assert keep_results(engine, bucket, batch_id)
    assert credits_of(engine, batch_id) == 2


def test_are_forgotten_at_a_charge_that_is_known_later(engine: Engine, bucket: Bucket) -> None:
    """A worker that comes back with its answer after the end changes what the batch cost."""
    batch_id, claim, attempt_id = called(engine)
    assert keep_results(engine, bucket, batch_id)
    assert credits_of(engine, batch_id) == 0
    answer(engine, claim, attempt_id)
    assert credits_of(engine, batch_id) is None
    with Session(engine) as session:
        assert session.get_one(Attempt, attempt_id).lost_at is not None
    assert keep_results(engine, bucket, batch_id)
    assert credits_of(engine, batch_id) == 1


def test_are_forgotten_if_another_calls_result_is_kept(engine: Engine, bucket: Bucket) -> None:
    """Of two charged calls of a job the second one's result is stored, and the first one's is not lost."""
    with Session(engine) as session, session.begin():
        batch_id = create_batch(session, "b").id
        enqueue(session, NewJob(SOURCE, "a"), batch_id=batch_id)
        claim = claim_one(session, new_worker(session))
        late = begin(session, claim)
        settle(session, paid(session, claim, number=2), DONE)
    assert keep_results(engine, bucket, batch_id)
    assert credits_of(engine, batch_id) == 1
    answer(engine, claim, late)
    assert credits_of(engine, batch_id) is None
    with Session(engine) as session:
        assert session.get_one(Attempt, late).lost_at is None


def test_are_never_wrong_if_the_worker_dies_over_a_charge(engine: Engine, bucket: Bucket) -> None:
    """Wherever its connection ends, the charge is recorded and the number is empty, or neither."""
    batch_id, claim, attempt_id = called(engine)
    assert keep_results(engine, bucket, batch_id)
    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        connection.execute(text(LOCK), {"id": batch_id})
        recording = pool.submit(answer, engine, claim, attempt_id)
        wait_until(is_waiting(engine), "the charge waits for the batch's row")
        for pid in connection.scalars(text(WAITING)).all():
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError):
            recording.result()
    with Session(engine) as session:
        assert session.get_one(Attempt, attempt_id).outcome == "unknown"
    assert credits_of(engine, batch_id) == 0
    answer(engine, claim, attempt_id)
    assert credits_of(engine, batch_id) is None


def test_are_forgotten_if_they_are_written_at_the_same_moment(engine: Engine, bucket: Bucket) -> None:
    """The charge waits while the number is counted without it, and empties it."""
    batch_id, claim, attempt_id = called(engine)
    assert keep_results(engine, bucket, batch_id)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(text(LOCK), {"id": batch_id})
            recording = pool.submit(answer, engine, claim, attempt_id)
            wait_until(is_waiting(engine), "the charge waits for the batch's row")
            connection.execute(text("UPDATE batches SET credits = 0 WHERE id = :id"), {"id": batch_id})
        recording.result()
    assert credits_of(engine, batch_id) is None


def test_count_a_charge_that_came_first(engine: Engine, bucket: Bucket) -> None:
    """The number is counted once the charge that is being recorded is visible."""
    batch_id, claim, attempt_id = called(engine)
    with ThreadPoolExecutor(1) as pool:
        with Session(engine) as session, session.begin():
            record(session, claim, attempt_id)
            writing = pool.submit(keep_results, engine, bucket, batch_id)
            wait_until(is_waiting(engine), "the number waits for the charge")
        assert writing.result()
    assert credits_of(engine, batch_id) == 1


def test_are_counted_once_by_whoever_asks(engine: Engine, bucket: Bucket) -> None:
    """Whoever counts the credits of an ended batch writes them down; of one that is open nothing is kept."""
    batch_id, claim, attempt_id = called(engine)
    assert write_down_credits(engine, batch_id) == 0
    assert credits_of(engine, batch_id) is None
    assert keep_results(engine, bucket, batch_id)
    answer(engine, claim, attempt_id)
    assert write_down_credits(engine, batch_id) == 1
    assert credits_of(engine, batch_id) == 1


def test_are_not_written_down_if_a_charge_comes_while_they_are_counted(
    engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charge that empties what is empty already makes the count of that time worth nothing."""
    batch_id, claim, attempt_id = called(engine)
    assert keep_results(engine, bucket, batch_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE batches SET credits = NULL"))

    def slowly(*asked: object) -> int:
        counted = credits_of_batch(*asked)  # type: ignore[arg-type]
        answer(engine, claim, attempt_id)
        return counted

    monkeypatch.setattr(batch_credits, "credits_of_batch", slowly)
    assert write_down_credits(engine, batch_id) == 0
    assert credits_of(engine, batch_id) is None
