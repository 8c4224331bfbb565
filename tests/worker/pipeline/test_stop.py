import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, QueueState, State
from cutout.models import Worker
from cutout.queue.attempts.attempts import Answer
from cutout.queue.claims import PaidResult
from cutout.queue.dispatch import dispatch_calls
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE, begin, new_worker
from tests.support.system import wait_until
from worker.pipeline.call_record import CallRecord
from worker.pipeline.process import process

URL = "https://results.example/a.png"

Begin = Callable[[Bench, uuid.UUID, int], Future[None]]


@pytest.fixture
def bench(make_bench: Callable[..., Bench], tmp_path: Path) -> Bench:
    """A bench with a spool of this test's own."""
    return make_bench(spool_dir=str(tmp_path / "spool"))


@pytest.fixture
def process_beside() -> Iterator[Begin]:
    """Process a job in a thread; returns once it is claimed."""
    with ThreadPoolExecutor() as threads:

        def begin(bench: Bench, job_id: uuid.UUID, fence: int) -> Future[None]:
            begun = threads.submit(process, bench.context, job_id, fence)
            wait_until(lambda: begun.done() or bench.job(job_id).state == State.RUNNING, "a claim")
            return begun

        yield begin


def dispatch(bench: Bench, photo: bytes) -> tuple[uuid.UUID, int]:
    """Enqueue one more job and dispatch it: its id and its fence."""
    bench.enqueue(photo)
    with Session(bench.engine) as session, session.begin():
        (dispatched,) = dispatch_calls(session, 1, lease=LEASE)
    return dispatched


def while_calling(bench: Bench, job_id: uuid.UUID, begun: Future[None]) -> None:
    """Return once the call is out."""
    wait_until(lambda: begun.done() or bool(bench.attempts(job_id)), "a call")
    assert not begun.done()


def worker(bench: Bench) -> Worker:
    with Session(bench.engine) as session:
        return session.get_one(Worker, bench.context.worker_id)


def leave_in_spool(bench: Bench, photo: bytes) -> uuid.UUID:
    """Leave a paid result in the spool, as a worker that had to stop; gives the job's id."""
    job_id, fence = dispatch(bench, photo)
    with Session(bench.engine) as session, session.begin():
        claim = queue.claim(session, job_id, fence, new_worker(session))
        assert claim is not None
        attempt_id = begin(session, claim)
    answer, paid = Answer(AttemptOutcome.CHARGED), PaidResult(URL, 600, 400)
    end = CallRecord(job_id, fence, claim.worker_id, attempt_id, answer, paid, timedelta(hours=24))
    with pytest.raises(InterruptedError), bench.context.spool.keeping(end):
        raise InterruptedError
    return job_id


class TestAWorkerThatEnds:
    def test_hands_back_a_job_that_it_has_not_claimed(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The job is ready again at once, as if it had never been dispatched."""
        job_id, fence = dispatch(bench, photo)
        bench.context.stopping.set()
        process(bench.context, job_id, fence)
        job = bench.job(job_id)
        assert (job.state, job.queue_state, job.code) == (State.QUEUED, QueueState.READY, None)
        assert (bench.attempts(job_id), sandbox.charges()) == ([], 0)

    def test_leaves_alone_a_job_that_was_dispatched_again(self, bench: Bench, photo: bytes) -> None:
        """A late message takes no job from another worker's message."""
        job_id, fence = dispatch(bench, photo)
        bench.context.stopping.set()
        process(bench.context, job_id, fence - 1)
        assert bench.job(job_id).queue_state == QueueState.DISPATCHED

    def test_begins_no_call_for_a_claimed_job(
        self, bench: Bench, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that is stopped while it reads the source takes no slot; the job uses up no try."""
        job_id, fence = dispatch(bench, photo)
        read = bench.context.sources.read

        def told_meanwhile(source: str, *, owner: uuid.UUID | None) -> bytes:
            bench.context.stopping.set()
            return read(source, owner=owner)

        monkeypatch.setattr(bench.context.sources, "read", told_meanwhile)
        monkeypatch.setattr(bench.context, "slots", None)
        process(bench.context, job_id, fence)
        job = bench.job(job_id)
        assert (job.state, job.queue_state, job.code) == (State.QUEUED, QueueState.DELAYED, "WORKER_STOPPING")
        assert (job.tries, bench.attempts(job_id)) == (0, [])

    def test_begins_no_call_after_it_waited_for_a_slot(
        self, make_bench: Callable[..., Bench], process_beside: Begin, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A worker that is stopped while it waits for its turn hands the job back when the turn has come."""
        bench = make_bench(calls_per_second=0.5, calls_in_flight=9)
        process(bench.context, *dispatch(bench, photo))
        job_id, fence = dispatch(bench, photo)
        begun = process_beside(bench, job_id, fence)
        bench.context.stopping.set()
        begun.result(timeout=10)
        assert bench.job(job_id).code == "WORKER_STOPPING"
        assert (bench.attempts(job_id), sandbox.charges()) == ([], 1)

    def test_finishes_the_call_that_is_out_and_its_copy(
        self, bench: Bench, process_beside: Begin, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The paid result is waited for, recorded and stored."""
        sandbox.set(latency=1.0)
        job_id, fence = dispatch(bench, photo)
        begun = process_beside(bench, job_id, fence)
        while_calling(bench, job_id, begun)
        bench.context.stopping.set()
        begun.result(timeout=10)
        assert bench.job(job_id).state == State.SUCCEEDED
        (attempt,) = bench.attempts(job_id)
        assert (attempt.outcome, sandbox.charges()) == (AttemptOutcome.CHARGED, 1)

    def test_does_not_call_again_with_another_encoding(
        self, bench: Bench, process_beside: Begin, sandbox: Sandbox, photo: bytes
    ) -> None:
        """After a refusal that needs a second call, another worker makes it."""
        sandbox.set(latency=1.0)
        sandbox.fault("code", code="FILE_DECODING_FAILURE", next=1)
        job_id, fence = dispatch(bench, photo)
        begun = process_beside(bench, job_id, fence)
        while_calling(bench, job_id, begun)
        bench.context.stopping.set()
        begun.result(timeout=10)
        (attempt,) = bench.attempts(job_id)
        assert (bench.job(job_id).code, attempt.outcome) == ("WORKER_STOPPING", "not_charged")

    def test_is_alive_until_it_has_ended(
        self, make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its heartbeats continue, so that the jobs that it finishes are not rescued; it leaves last."""
        monkeypatch.setattr("worker.pipeline.context.HEARTBEATS_WITHIN_SILENCE", 300)
        bench = make_bench()
        bench.context.stopping.set()
        told_at = worker(bench).heartbeat_at
        wait_until(lambda: worker(bench).heartbeat_at > told_at, "a heartbeat after it was told to end")
        assert worker(bench).left_at is None
        bench.context.stop()
        assert worker(bench).left_at is not None


class TestACall:
    def test_may_take_as_long_as_its_deadline_says(self, make_bench: Callable[..., Bench]) -> None:
        """No shorter timeout cuts off a deadline of 15 minutes."""
        bench = make_bench(call_deadline_seconds=900.0)
        (account,) = bench.context.slots._accounts.values()
        timeouts = account.clients.get()._transport._timeouts
        assert (timeouts.total, timeouts.read) == (900.0, 900.0)


class TestTheSpool:
    def test_of_a_worker_that_had_to_stop_is_replayed_by_a_living_one(
        self, make_bench: Callable[..., Bench], photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A running worker replays, with its heartbeat, what another one left."""
        monkeypatch.setattr("worker.pipeline.context.HEARTBEATS_WITHIN_SILENCE", 300)
        bench = make_bench(spool_dir=str(tmp_path / "spool"))
        job_id = leave_in_spool(bench, photo)
        wait_until(lambda: bench.job(job_id).result_url == URL, "the paid result")

    def test_is_written_before_the_worker_leaves(self, bench: Bench, photo: bytes) -> None:
        """A job that is rescued while its result is on disk would be paid for twice."""
        job_id = leave_in_spool(bench, photo)
        bench.context.stop()
        assert bench.job(job_id).result_url == URL
        assert worker(bench).left_at is not None
