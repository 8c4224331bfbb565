"""Held pictures: the retry limits hold for a picture, not for one of its jobs only."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, Forms, ReturnForm, State
from cutout.models import Attempt, Job
from cutout.outputs.options import OutputOptions
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Hold, Lost, Outcome, StoredObject, Succeeded, Unknown
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.promote import promote_due
from cutout.queue.settle import RetryLimits
from tests.support.steps import MAKING, SOURCE, ask_to_begin, begin, claim_one, new_worker, paid

NEVER = RetryLimits(unknown=0, lost=0)
ONCE = RetryLimits(unknown=1, lost=1)
SHA256 = b"s" * 32
End = Callable[[Session, Claim, RetryLimits], None]
NO_ANSWER = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER")


def die(session: Session, claim: Claim, bounds: RetryLimits) -> None:
    """Let its paid result expire."""
    claim = paid(session, claim, claim.attempts + 1, source_sha256=SHA256)
    queue.settle(session, claim, Lost("RESULT_EXPIRED", "it died"), bounds)


def drop(session: Session, claim: Claim, bounds: RetryLimits) -> None:
    """Let its call end without a response."""
    queue.end_attempt(session, begin(session, claim, claim.attempts + 1, source_sha256=SHA256), NO_ANSWER)
    queue.settle(session, claim, Unknown("NO_ANSWER", "no answer"), bounds)


def hold(code: str) -> End:
    """Hold it with this code."""

    def held(session: Session, claim: Claim, bounds: RetryLimits) -> None:
        claim = paid(session, claim, claim.attempts + 1, source_sha256=SHA256)
        queue.settle(session, claim, Hold(code, "look at it"), bounds)

    return held


@pytest.fixture
def worker_id(session: Session) -> uuid.UUID:
    return new_worker(session)


def calls(session: Session) -> int:
    return session.scalars(select(func.count()).select_from(Attempt)).one()


def carry_out(session: Session, worker_id: uuid.UUID, end: End, bounds: RetryLimits) -> Claim:
    """Process the first ready job as a worker would, with these ends of its calls, until it ends."""
    while True:
        claim = claim_one(session, worker_id)
        queue.acquire_result(session, claim, SHA256, MAKING)
        if ask_to_begin(session, claim, claim.attempts + 1, source_sha256=SHA256) is NotBegun.HELD:
            held = queue.find_held_picture(session, claim, SHA256, MAKING)
            assert held
            queue.settle(session, claim, Hold(held.code, f"held as {held.job_id}"))
        else:
            end(session, claim, bounds)
        job = session.get_one(Job, claim.job_id, populate_existing=True)
        if job.state != State.QUEUED:
            return claim
        job.scheduled_at = func.now()
        session.flush()
        promote_due(session)


class TestFourNights:
    @pytest.mark.parametrize(
        ("end", "bounds", "cost"),
        [
            (die, NEVER, 1),
            (drop, NEVER, 1),
            (die, ONCE, 2),
            (drop, ONCE, 2),
            (hold("RESULT_UNEXPECTED"), NEVER, 1),
            (hold("TOO_MANY_CALLS"), NEVER, 1),
            (hold("INTERNAL_ERROR"), NEVER, 1),
        ],
        ids=["lost", "unknown", "lost-once", "unknown-once", "unexpected", "too-many", "error"],
    )
    def test_cost_what_one_night_costs(
        self, session: Session, worker_id: uuid.UUID, end: End, bounds: RetryLimits, cost: int
    ) -> None:
        """A picture that waits for a person is not called as another job, but held for the same reason."""
        for night in range(4):
            enqueue(session, NewJob(SOURCE))
            claim = carry_out(session, worker_id, end, bounds)
            job = session.get_one(Job, claim.job_id)
            assert (job.state, calls(session)) == (State.HELD, cost), night
        first, *later = session.scalars(select(Job).order_by(Job.id)).all()
        assert {(job.code, job.message) for job in later} == {(first.code, f"held as {first.id}")}

    def test_count_what_failed_otherwise_in_between(self, session: Session, worker_id: uuid.UUID) -> None:
        """An unknown charge of a cancelled job counts for the picture."""
        enqueue(session, NewJob(SOURCE))
        claim = claim_one(session, worker_id)
        drop(session, claim, ONCE)
        queue.cancel(session, claim.job_id)
        enqueue(session, NewJob(SOURCE))
        carry_out(session, worker_id, drop, ONCE)
        assert calls(session) == 2


class TestAHeldPicture:
    def test_holds_every_form_that_is_derived(self, session: Session, worker_id: uuid.UUID) -> None:
        """None of its forms is called as another job."""
        for form in ReturnForm:
            enqueue(session, NewJob(SOURCE, return_form=form))
            carry_out(session, worker_id, drop, NEVER)
        assert session.scalars(select(Job.state)).all() == [State.HELD] * 4
        assert calls(session) == 1

    def test_as_a_form_that_is_bought_holds_that_form(self, session: Session, worker_id: uuid.UUID) -> None:
        """Another form is another purchase, which has not failed."""
        for form in (*ReturnForm, ReturnForm.MASK):
            job = NewJob(SOURCE, return_form=form, outputs=OutputOptions(Forms.BOUGHT))
            enqueue(session, job)
            carry_out(session, worker_id, drop, NEVER)
        assert calls(session) == 4


class TestAPersonsRetry:
    @pytest.fixture
    def both(self, session: Session, worker_id: uuid.UUID) -> list[uuid.UUID]:
        """The held job, and the job that is held because of it."""
        claims = []
        for _ in range(2):
            enqueue(session, NewJob(SOURCE))
            claims.append(carry_out(session, worker_id, drop, NEVER))
        return [claim.job_id for claim in claims]

    @pytest.mark.parametrize("which", [0, 1])
    def test_of_either_job_continues(
        self, session: Session, worker_id: uuid.UUID, both: list[uuid.UUID], which: int
    ) -> None:
        """It calls once, and the outcome holds it again."""
        assert queue.retry(session, both[which])
        carry_out(session, worker_id, drop, NEVER)
        assert calls(session) == 2
        assert session.get_one(Job, both[which], populate_existing=True).state == State.HELD

    def test_of_both_makes_one_call(
        self, session: Session, worker_id: uuid.UUID, both: list[uuid.UUID]
    ) -> None:
        """The first one buys, the other reuses the cutout."""
        queue.retry_all(session, both)
        claim = claim_one(session, worker_id)
        queue.acquire_result(session, claim, SHA256, MAKING)
        claim = paid(session, claim, claim.attempts + 1, source_sha256=SHA256)
        stored = StoredObject("k", b"x", "image/png", 1, 1, 1)
        queue.settle(session, claim, Succeeded(stored, bucket=MAKING.bucket))
        other = claim_one(session, worker_id)
        found = queue.acquire_result(session, other, SHA256, MAKING)
        assert isinstance(found, queue.BoughtBefore)


class TestAnotherPicture:
    def test_or_form_or_endpoint_is_not_held_for_it(self, session: Session, worker_id: uuid.UUID) -> None:
        """A picture that is held at the sandbox may be tried at the endpoint."""
        enqueue(session, NewJob(SOURCE))
        carry_out(session, worker_id, drop, NEVER)
        enqueue(session, NewJob(SOURCE))
        claim = claim_one(session, worker_id)
        assert ask_to_begin(session, claim, source_sha256=SHA256) is NotBegun.HELD
        assert isinstance(ask_to_begin(session, claim, 1, source_sha256=b"o" * 32), int)
        elsewhere = replace(MAKING, endpoint="https://other.example/cutout")
        assert isinstance(ask_to_begin(session, claim, 2, source_sha256=SHA256, recipe=elsewhere), int)

    def test_is_not_held_for_one_that_was_never_called(self, session: Session, worker_id: uuid.UUID) -> None:
        """The hold of a job without a call says nothing about the picture."""
        enqueue(session, NewJob(SOURCE))
        claim = claim_one(session, worker_id)
        queue.acquire_result(session, claim, SHA256, MAKING)
        outcome: Outcome = Hold("INTERNAL_ERROR", "an outcome could not be written")
        queue.settle(session, claim, outcome)
        enqueue(session, NewJob(SOURCE))
        assert isinstance(begin(session, claim_one(session, worker_id), source_sha256=SHA256), int)
