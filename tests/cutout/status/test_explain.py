from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts, learned_limits
from cutout.billing.learned_limits import LimitState
from cutout.enums import AttemptOutcome, Step, Stop
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue import workers
from cutout.queue.attempts.outcomes import Fail, Hold, Retry, StoredObject, Succeeded
from cutout.queue.blocks import pauses, storage_breaker
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.leader import LEADER_LOCK
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from cutout.status.explanation import Explanation
from tests.support.steps import ACCOUNT, SOURCE, begin, claim_new, dispatch_one, new_worker

KNOWN = CallSettings([ACCOUNT], calls_per_second=None, day_budget=5)
LEARNED = LimitState(
    level=4.0,
    top=None,
    open_calls=0,
    waiting=0,
    calls_per_second=0.0,
    latency_seconds=2.0,
    slow_since=None,
    rests_for=None,
    circuit_for=None,
)


@pytest.fixture
def running(session: Session) -> Session:
    """An installation with a leading dispatcher and a live worker."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
    new_worker(session)
    return session


def why(session: Session, job_id: object = None) -> Explanation:
    session.expire_all()
    job = session.get_one(Job, job_id or enqueue(session, NewJob(SOURCE)))
    return explain(session, job, KNOWN)


def test_a_job_that_needs_no_call_says_so(running: Session) -> None:
    """A worker checks the bucket for a cutout that was bought before."""
    job_id = enqueue(running, NewJob(SOURCE))
    running.execute(text("UPDATE jobs SET queue_state = 'reusing'"))
    explained = why(running, job_id)
    assert (explained.why, explained.until) == ("reusing", running.get_one(Job, job_id).scheduled_at)


class TestAJobOutsideItsWindow:
    @pytest.mark.parametrize(
        ("window", "words"),
        [
            ("opens_at = '2999-01-02 01:00+00'", "its window opens at 2999-01-02 01:00:00 UTC"),
            ("closes_at = '2001-01-02 06:00+00'", "its window closed at 2001-01-02 06:00:00 UTC"),
        ],
    )
    def test_says_when_it_opens(self, running: Session, window: str, words: str) -> None:
        """Ready and blocked jobs name the opening; `until` has it for programs."""
        batch = create_batch(running, "b")
        job_id = enqueue(running, NewJob(SOURCE), batch_id=batch.id)
        running.execute(text(f"UPDATE batches SET {window}"))  # noqa: S608
        explained = why(running, job_id)
        assert (explained.why, explained.text.partition(";")[0]) == ("window", words)
        assert (explained.until is not None) == ("opens" in words)


class TestAJobInTheQueue:
    def test_knows_its_position_and_about_when_its_turn_comes(self, running: Session) -> None:
        """Forty calls before it at two a second take twenty seconds."""
        batch = create_batch(running, "b")
        ids = enqueue_all(running, [NewJob(SOURCE, str(n)) for n in range(41)], batch_id=batch.id)
        learned_limits.save(running, ACCOUNT, LEARNED)
        explained = why(running, ids[-1])
        assert (explained.why, explained.ahead) == ("ready", 40)
        assert explained.text == (
            "it is in the queue behind 40 others; at 2.0 calls/s its turn comes in about 20 s"
        )

    def test_without_a_dispatcher_says_so(self, session: Session) -> None:
        """Without a leading dispatcher nothing is dispatched, whatever the position."""
        new_worker(session)
        explained = why(session)
        assert (explained.why, explained.remedy) == ("no-dispatcher", "start `cutout dispatcher`")

    def test_without_a_worker_says_so(self, running: Session) -> None:
        """A worker that was not heard for a minute does not count."""
        running.execute(text("UPDATE workers SET heartbeat_at = now() - interval '2 min'"))
        assert why(running).why == "no-worker"

    @pytest.mark.parametrize(
        ("stop", "expected", "said"),
        [
            (pauses.pause, "paused", "all calls are paused since"),
            (lambda s: storage_breaker.trip(s, "no room"), "storage", "no room"),
            (
                lambda s: accounts.pause(s, ACCOUNT, code="ERROR_NOT_ENOUGH_CREDITS", message="empty"),
                "account-paused",
                "ERROR_NOT_ENOUGH_CREDITS: empty; the next probe is at",
            ),
            (
                lambda s: s.execute(
                    text("INSERT INTO spending VALUES ((now() AT TIME ZONE 'UTC')::date, 5)")
                ),
                "day-budget",
                "the day's budget of 5 credits is spent",
            ),
            (
                lambda s: s.execute(
                    text(
                        "INSERT INTO limits VALUES (:name, 1, 1, 0, 0, 0, 0, NULL, NULL,"
                        " now() + interval '1 min')"
                    ),
                    {"name": ACCOUNT},
                ),
                "circuit",
                "the endpoint fails for all jobs",
            ),
            (
                lambda s: s.execute(
                    text(
                        "INSERT INTO limits VALUES (:name, 1, 1, 0, 0, 0, 0, NULL, NULL,"
                        " now() - interval '1 second')"
                    ),
                    {"name": ACCOUNT},
                ),
                "circuit",
                "one call probes it now",
            ),
            (
                lambda s: storage_breaker.trip(
                    s, "results at r.example: RESULT_UNAVAILABLE: no route", of=Stop.RESULTS
                ),
                "results",
                "results at r.example: RESULT_UNAVAILABLE: no route",
            ),
            (
                lambda s: storage_breaker.trip(s, "99 paid results are saved nowhere yet", of=Stop.BACKLOG),
                "backlog",
                "99 paid results",
            ),
            (
                lambda s: s.execute(
                    text("UPDATE workers SET cut_off_at = now(), cut_off_reason = 'no route'")
                ),
                "workers-cut-off",
                "no worker reaches the bucket",
            ),
        ],
    )
    def test_names_what_stops_everybody(
        self, running: Session, stop: Callable[[Session], object], expected: str, said: str
    ) -> None:
        """A reason that stops all calls comes before the job's own position."""
        stop(running)
        explained = why(running)
        assert explained.why == expected
        assert said in explained.text

    def test_names_its_batchs_pause(self, running: Session) -> None:
        """The remedy ends the pause."""
        batch = create_batch(running, "b")
        (job_id,) = enqueue_all(running, [NewJob(SOURCE, "a")], batch_id=batch.id)
        pauses.pause(running, batch.id)
        explained = why(running, job_id)
        assert (explained.why, explained.remedy) == (
            "batch-paused",
            f"its producer resumes it, or `cutout resume --as-producer --batch {batch.id}`",
        )
        pauses.pause(running, batch.id, pauses.By.OPERATOR)
        explained = why(running, job_id)
        assert explained.text.startswith("an operator paused its batch at")
        assert explained.remedy == f"`cutout resume --batch {batch.id}` ends the pause"

    def test_names_its_producers_suspension(self, running: Session) -> None:
        """The suspension comes before the batch's reasons, which resuming the producer does not change."""
        producer, _ = create_producer(running, "shop")
        batch = create_batch(running, "b", producer_id=producer.id)
        (job_id,) = enqueue_all(running, [NewJob(SOURCE, "a")], batch_id=batch.id)
        pauses.pause(running, batch.id)
        running.execute(text("UPDATE producers SET suspended_at = now()"))
        running.expire_all()
        explained = why(running, job_id)
        assert (explained.why, explained.remedy) == (
            "producer-suspended",
            f"`cutout producers resume {producer.id}` ends the suspension",
        )


class TestAJobOnItsWay:
    def test_that_is_delayed_says_until_when_and_after_what(self, running: Session) -> None:
        """A delayed job has the code and the time."""
        claim = claim_new(running, new_worker(running))
        queue.settle(running, claim, Retry(Step.CALL, "PROCESSING_FAILURE", "oops", after_seconds=60))
        explained = why(running, claim.job_id)
        assert explained.why == "delayed"
        assert "after PROCESSING_FAILURE: oops" in explained.text
        assert explained.until is not None

    def test_that_is_dispatched_says_until_when(self, running: Session) -> None:
        """A lost message is dispatched again after its lease."""
        enqueue(running, NewJob(SOURCE))
        job_id, _ = dispatch_one(running)
        assert why(running, job_id).why == "dispatched"

    def test_says_what_its_worker_is_at(self, running: Session) -> None:
        """The worker prepares, then calls, then copies."""
        claim = claim_new(running, new_worker(running))
        assert why(running, claim.job_id).why == "preparing"
        attempt_id = begin(running, claim)
        assert why(running, claim.job_id).why == "calling"
        answer = queue.Answer(AttemptOutcome.CHARGED)
        queue.record_result(
            running,
            claim,
            attempt_id,
            answer,
            url="https://r/1",
            lifetime=timedelta(hours=24),
            sent=(1, 1),
        )
        assert why(running, claim.job_id).why == "copying"


class TestAJobThatStopped:
    def test_because_of_its_picture_has_the_code(self, session: Session) -> None:
        """The remedy is the command that tries again."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Fail("IMAGE_EMPTY", "0 bytes"))
        explained = why(session, claim.job_id)
        assert (explained.why, explained.text) == ("IMAGE_EMPTY", "IMAGE_EMPTY: 0 bytes")
        assert f"cutout retry {claim.job_id}" in (explained.remedy or "")

    def test_for_a_person_to_decide_tells_its_calls(self, session: Session) -> None:
        """The text has the number of calls."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        queue.settle(session, claim, Hold("NO_ANSWER", "a credit may be charged"))
        explained = why(session, claim.job_id)
        assert explained.text == "NO_ANSWER: a credit may be charged (1 call so far)"
        assert "cutout cancel" in (explained.remedy or "")

    def test_for_its_batchs_budget_names_the_sums(self, session: Session) -> None:
        """The text has the credits spent and the budget, the remedy raises it."""
        worker_id = new_worker(session)
        batch = create_batch(session, "b", budget=0)
        enqueue_all(session, [NewJob(SOURCE, "a")], batch_id=batch.id)
        job_id, fence = dispatch_one(session)
        claim = queue.claim(session, job_id, fence, worker_id)
        assert claim is not None
        queue.settle(session, claim, Hold("OVER_BUDGET", "x", blocked=True))
        explained = why(session, job_id)
        assert explained.text == "its batch has spent 0 of its budget of 0 credits"
        assert explained.remedy == f"raise it with `cutout budget {batch.id} CREDITS`"

    def test_with_its_cutout_names_the_key(self, session: Session) -> None:
        """A succeeded job names the key of its cutout."""
        claim = claim_new(session, new_worker(session))
        claim = queue.claim(session, claim.job_id, claim.fence, claim.worker_id) or claim
        stored = StoredObject("k/1.png", b"x" * 32, "image/png", 1, 1, 1)
        queue.settle(session, claim, Succeeded(stored))
        assert why(session, claim.job_id).text == "what was bought is stored as k/1.png"


def test_a_worker_that_left_does_not_count(running: Session) -> None:
    """A worker that has ended takes no more jobs."""
    running.execute(text("UPDATE workers SET left_at = now()"))
    assert why(running).why == "no-worker"
    workers.register(running, host="other", pid=2)
    assert why(running).why == "ready"
