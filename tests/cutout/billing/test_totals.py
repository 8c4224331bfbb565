import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import totals
from cutout.billing.totals import Totals
from cutout.enums import AttemptOutcome, QueueState, ReturnForm, Step
from cutout.models import Attempt, Job
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Lost, Outcome, StoredObject, Succeeded
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.settle import RetryLimits
from tests.support.clock import wait_for_a_day
from tests.support.steps import ACCOUNT, SOURCE, begin, claim_one, new_worker

CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
REFUSED = Answer(AttemptOutcome.NOT_CHARGED, http_status=400, code="BAD")
UNANSWERED = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER")
DONE = Succeeded(StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 100, 10, 20))

# Makes a job that called so often, the last call still out where the answer is None; gives its id.
MakeJob = Callable[..., uuid.UUID]


@pytest.fixture
def make_job(session: Session) -> MakeJob:
    """A job whose calls ended with these outcomes, and its state."""
    worker_id = new_worker(session)

    def make(
        *answers: Answer | None,
        batch_id: uuid.UUID | None = None,
        name: str | None = None,
        fate: Outcome | None = None,
    ) -> uuid.UUID:
        job_id = enqueue(session, NewJob(SOURCE, name), batch_id=batch_id)
        claim = claim_one(session, worker_id)
        for number, answer in enumerate(answers, start=1):
            attempt_id = begin(session, claim, number)
            if answer is CHARGED:
                claim = claim.with_result(
                    queue.record_result(
                        session,
                        claim,
                        attempt_id,
                        answer,
                        url="https://r/1",
                        lifetime=timedelta(1),
                        sent=(1, 1),
                    )
                )
            elif answer is not None:
                queue.end_attempt(session, attempt_id, answer)
        if fate is not None:
            assert queue.settle(session, claim, fate, RetryLimits(lost=9))
        return job_id

    return make


def days_ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


def move(session: Session, job_id: uuid.UUID, *, begun: date, finished: date | None = None) -> None:
    """Set the calls' begin to the last second of a day (UTC), and the job's end to another day."""
    session.execute(update(Attempt).where(Attempt.job_id == job_id).values(begun_at=last_second(begun)))
    if finished:
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=last_second(finished)))


def last_second(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59, 500_000), UTC)


class TestTheTotals:
    def test_of_an_empty_ledger_are_zero(self, session: Session) -> None:
        """An empty ledger and a batch that does not exist have totals of zero."""
        assert totals.totals(session) == totals.totals(session, uuid.uuid4()) == Totals()
        assert not [*totals.by_job(session), *totals.by_batch(session), *totals.by_day(session, 9)]

    def test_tell_every_outcome_apart(self, session: Session, make_job: MakeJob) -> None:
        """Charged, not charged, unknown and open calls add up to the calls begun."""
        make_job(REFUSED, REFUSED, UNANSWERED, CHARGED, fate=DONE)
        make_job(REFUSED, None)
        assert totals.totals(session) == Totals(begun=6, charged=1, not_charged=3, unknown=1, out=1)

    def test_count_a_call_by_the_late_report_of_its_worker(self, session: Session, make_job: MakeJob) -> None:
        """A call given up as unknown and answered later is not unknown any more."""
        make_job(UNANSWERED)
        queue.end_attempt(session, session.scalars(select(Attempt.id)).one(), CHARGED)
        assert totals.totals(session) == Totals(begun=1, charged=1)

    def test_count_a_lost_result_as_charged_and_lost(self, session: Session, make_job: MakeJob) -> None:
        """Both credits of a job that called again were spent; one of them brought nothing."""
        job_id = make_job(CHARGED, fate=Lost("RESULT_EXPIRED", "gone"))
        session.execute(update(Job).where(Job.id == job_id).values(queue_state=QueueState.READY))
        claim = claim_one(session, new_worker(session))
        bought = claim.with_result(
            queue.record_result(
                session,
                claim,
                begin(session, claim, 2),
                CHARGED,
                url="https://r/2",
                lifetime=timedelta(1),
                sent=(1, 1),
            )
        )
        assert bought.step is Step.COPY
        assert queue.settle(session, bought, DONE)
        assert totals.totals(session) == Totals(begun=2, charged=2, lost=1)

    def test_count_as_saved_what_succeeded_without_a_charge(
        self, session: Session, make_job: MakeJob
    ) -> None:
        """A success without a charged call is saved; a job that paid or did not end is not."""
        make_job(fate=DONE)
        make_job(REFUSED, UNANSWERED, fate=DONE)
        make_job(CHARGED, fate=DONE)
        make_job(REFUSED)
        assert totals.totals(session) == Totals(begun=4, charged=1, not_charged=2, unknown=1, saved=2)

    def test_of_a_batch_leave_the_others_out(self, session: Session, make_job: MakeJob) -> None:
        """Only the batch's own jobs are counted."""
        batch_id = create_batch(session, "hats").id
        make_job(CHARGED, fate=DONE, batch_id=batch_id)
        make_job(fate=DONE, batch_id=batch_id)
        make_job(REFUSED)
        assert totals.totals(session, batch_id) == Totals(begun=1, charged=1, saved=1)
        assert totals.totals(session) == Totals(begun=2, charged=1, not_charged=1, saved=1)


class TestByJob:
    def test_has_a_line_for_every_job_that_called(self, session: Session, make_job: MakeJob) -> None:
        """Jobs are in the order enqueued, with their names; a job without calls has no line."""
        first = make_job(REFUSED, CHARGED, fate=DONE, name="hat")
        make_job(fate=DONE, name="reused")
        last = make_job(None, name=None)
        hat, unnamed = totals.by_job(session)
        assert (hat.job_id, hat.external_id, hat.return_form) == (first, "hat", ReturnForm.RGBA)
        assert hat.totals == Totals(begun=2, charged=1, not_charged=1)
        assert (unnamed.job_id, unnamed.external_id, unnamed.totals) == (last, None, Totals(begun=1, out=1))

    def test_of_a_batch_leaves_the_others_out(self, session: Session, make_job: MakeJob) -> None:
        """Only the batch's own jobs have lines."""
        batch_id = create_batch(session, "hats").id
        make_job(REFUSED)
        own = make_job(REFUSED, batch_id=batch_id)
        assert [line.job_id for line in totals.by_job(session, batch_id)] == [own]

    def test_is_read_a_thousand_rows_at_a_time(self, session: Session) -> None:
        """All of more jobs than one round trip brings are there once, and the first come before the rest."""
        many = totals.ROWS_A_ROUND_TRIP * 2 + 1
        worker_id = new_worker(session)
        ids = enqueue_all(session, [NewJob(SOURCE, str(number)) for number in range(many)])
        call = {"number": 1, "fence": 1, "worker_id": worker_id, "account": ACCOUNT, "image_sha256": b"x"}
        session.execute(insert(Attempt), [call | {"job_id": job_id} for job_id in ids])
        lines = totals.by_job(session)
        next(lines)
        assert session.scalar(text("SELECT count(*) FROM pg_cursors")) == 1
        assert len({line.job_id for line in lines}) == many - 1


class TestByBatch:
    def test_has_a_line_for_every_batch_that_called_or_saved(
        self, session: Session, make_job: MakeJob
    ) -> None:
        """The newest is first, jobs without a batch are last; a batch without either has no line."""
        hats, shoes, idle = (create_batch(session, name).id for name in ("hats", "shoes", "idle"))
        make_job(CHARGED, fate=DONE, batch_id=hats)
        make_job(REFUSED, batch_id=hats)
        make_job(fate=DONE, batch_id=shoes)
        make_job(batch_id=idle)
        make_job(None)
        assert [(line.batch_id, line.name, line.totals) for line in totals.by_batch(session)] == [
            (shoes, "shoes", Totals(saved=1)),
            (hats, "hats", Totals(begun=2, charged=1, not_charged=1)),
            (None, None, Totals(begun=1, out=1)),
        ]
        assert [line.batch_id for line in totals.by_batch(session, hats)] == [hats]


class TestByProducer:
    def test_has_a_line_for_every_producer_that_called_or_saved(
        self, session: Session, make_job: MakeJob
    ) -> None:
        """By name; what has no producer is last; its own days and batches leave the others out."""
        shop, art = (create_producer(session, name)[0].id for name in ("shop", "art"))
        batch_id = create_batch(session, "hats", producer_id=shop).id
        for of, job_id in (
            (shop, make_job(CHARGED, fate=DONE, batch_id=batch_id)),
            (art, make_job(fate=DONE)),
        ):
            session.execute(update(Job).where(Job.id == job_id).values(producer_id=of))
        make_job(REFUSED)
        assert [(line.name, line.totals) for line in totals.by_producer(session)] == [
            ("art", Totals(saved=1)),
            ("shop", Totals(begun=1, charged=1)),
            (None, Totals(begun=1, not_charged=1)),
        ]
        assert [line.totals for line in totals.by_day(session, 2, producer_id=shop)] == [
            Totals(begun=1, charged=1)
        ]
        assert [line.batch_id for line in totals.by_batch(session, producer_id=shop)] == [batch_id]
        assert [*totals.by_batch(session, batch_id, art)] == []


class TestByDay:
    @pytest.fixture(autouse=True)
    def _one_day(self) -> None:
        wait_for_a_day()

    def test_puts_calls_on_the_day_they_began_and_savings_on_the_day_they_finished(
        self, session: Session, make_job: MakeJob
    ) -> None:
        """Days are those of UTC to the last second; the newest first, without empty days."""
        move(session, make_job(CHARGED, fate=DONE), begun=days_ago(3), finished=days_ago(1))
        move(session, make_job(REFUSED, fate=DONE), begun=days_ago(3), finished=days_ago(1))
        move(session, make_job(UNANSWERED, fate=DONE), begun=days_ago(1), finished=days_ago(0))
        assert [(line.day, line.totals) for line in totals.by_day(session, 30)] == [
            (days_ago(0), Totals(saved=1)),
            (days_ago(1), Totals(begun=1, unknown=1, saved=1)),
            (days_ago(3), Totals(begun=2, charged=1, not_charged=1)),
        ]

    def test_goes_back_so_many_days(self, session: Session, make_job: MakeJob) -> None:
        """Today counts; the last second of the day before the first one is too old."""
        for ago in (0, 1, 2):
            move(session, make_job(REFUSED, fate=DONE), begun=days_ago(ago), finished=days_ago(ago))
        for days in (1, 2, 3):
            assert [line.day for line in totals.by_day(session, days)] == [days_ago(n) for n in range(days)]

    def test_of_a_batch_leaves_the_others_out(self, session: Session, make_job: MakeJob) -> None:
        """Only the batch's own calls and savings are counted."""
        batch_id = create_batch(session, "hats").id
        make_job(CHARGED, fate=DONE, batch_id=batch_id)
        make_job(fate=DONE, batch_id=batch_id)
        make_job(CHARGED, fate=DONE)
        make_job(fate=DONE)
        (line,) = totals.by_day(session, 1, batch_id)
        assert line.totals == Totals(begun=1, charged=1, saved=1)
