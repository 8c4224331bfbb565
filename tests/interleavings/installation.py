"""A whole installation without its processes: the statements of the queue on a real Postgres, one at a time.

Each action of a dispatcher, a worker, a person or the clock is a method. The clock is moved by moving the
times in the rows.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta

from sqlalchemy import Engine, RowMapping, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.audit import CHECKS, EVERYTHING, audit
from cutout.billing import accounts
from cutout.enums import AttemptOutcome, Priority, Step
from cutout.models import Job
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import (
    Fail,
    Hold,
    Lost,
    Outcome,
    Retry,
    Snooze,
    StoredObject,
    Succeeded,
    Unknown,
)
from cutout.queue.blocks import approval, pauses, storage_breaker
from cutout.queue.blocks.blocked_jobs import Unblocker
from cutout.queue.bulk import begin_cancelling
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch, dispatch_copies
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.queue.promote import promote_due
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.acquire import Acquired, BoughtBefore, TakenByOther
from cutout.queue.reuse.serve_reused import Dispatched, ReusableJob, ReuseScope
from cutout.queue.reuse.waiting_jobs import WaitingJobsPromoter
from cutout.queue.settle import RetryLimits
from cutout.status.call_rate import CallSettings as Settings
from cutout.status.explain import explain
from cutout.status.explanation import Explanation
from tests.interleavings.endpoint import Endpoint
from tests.interleavings.held_job import HeldJob
from tests.interleavings.pictures import sha256_of, source_of
from tests.interleavings.statements import (
    BLOCKED,
    BOUGHT_CUTOUTS,
    HAS_THE_RESULT,
    HELD_FOR_APPROVAL,
    LOCK_BATCHES,
    MOVED_CLOCK,
    PICTURE_OF,
    PLANNED,
    TAKES_A_RESULT,
    UNKNOWN,
)
from tests.support.steps import MAKING
from worker.pipeline.refusals import NOT_BEGUN

ACCOUNT = "account"
LEASE = timedelta(seconds=60)
REUSE_SCOPE = ReuseScope(MAKING)
MOST_SERVED = 10
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
REFUSED = Answer(AttemptOutcome.NOT_CHARGED, http_status=500, code="PROCESSING_FAILURE")
NO_ANSWER = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER")


class World:
    """One database, its workers and the jobs that they hold, and the endpoint with the true charges."""

    def __init__(self, engine: Engine) -> None:
        # Workers and dispatchers commit each statement by itself; people's commands have transactions.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._transactions = engine
        self._connection = self._engine.connect()
        self.endpoint = Endpoint()
        self.bounds = RetryLimits(unknown=1, lost=0)
        self.batches: list[uuid.UUID] = []
        self.messages: list[tuple[uuid.UUID, int]] = []
        self.workers: dict[uuid.UUID, bool] = {}
        self.held_jobs: list[HeldJob] = []
        # Responses that a dead worker left in its spool.
        self.spooled: list[HeldJob] = []
        # Calls that were begun and not checked yet, by their attempts.
        self.begun: dict[int, HeldJob] = {}
        # The number of unknown charges of each job when a person retried it.
        self.accepted_unknown: dict[uuid.UUID, int] = {}
        # Messages of jobs that reuse a cutout.
        self.reused: list[Dispatched] = []
        # Keys of the cutouts in the bucket.
        self.cutouts: set[str] = set()
        # The number of deleted cutouts of each source.
        self.deleted: Counter[bytes] = Counter()
        self._unblocker = Unblocker()
        self._promoter = WaitingJobsPromoter()
        self._pictures = 0
        accounts.ensure(self._connection, ACCOUNT)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # Actions of a producer.

    def order(self, count: int, *, budget: int | None = None, plan: bool = False) -> uuid.UUID:
        """Enqueue a batch of so many jobs, each with a new picture."""
        self._pictures += count
        return self._order(range(self._pictures - count, self._pictures), budget=budget, plan=plan)

    def order_again(
        self, count: int, *, skip: int, budget: int | None = None, priority: Priority = Priority.NORMAL
    ) -> uuid.UUID:
        """Enqueue a batch of up to so many pictures that were enqueued before."""
        first = skip % self._pictures
        numbers = range(first, min(first + count, self._pictures))
        return self._order(numbers, budget=budget, priority=priority)

    def _order(
        self,
        numbers: Sequence[int],
        *,
        budget: int | None,
        plan: bool = False,
        priority: Priority = Priority.NORMAL,
    ) -> uuid.UUID:
        with Session(self._transactions) as session, session.begin():
            batch_id = create_batch(session, "batch", budget=budget).id
            jobs = [NewJob(source_of(n), str(n), priority=priority) for n in numbers]
            enqueue_all(session, jobs, batch_id=batch_id)
            if plan:
                session.execute(text(PLANNED), {"id": batch_id})
                session.execute(text(HELD_FOR_APPROVAL), {"id": batch_id})
        self.batches.append(batch_id)
        return batch_id

    # Actions of a person.

    def pause(self, batch_id: uuid.UUID | None) -> None:
        pauses.pause(self._connection, batch_id)

    def resume(self, batch_id: uuid.UUID | None) -> None:
        pauses.resume(self._connection, batch_id)

    def set_window(self, batch_id: uuid.UUID, *, is_open: bool | None) -> None:
        """Set a window that is open or over, or none."""
        closes = {True: "now() + interval '1 hour'", False: "now() - interval '1 minute'", None: "NULL"}[
            is_open
        ]
        self._execute(f"UPDATE batches SET closes_at = {closes} WHERE id = :id", id=batch_id)  # noqa: S608

    def set_budget(self, batch_id: uuid.UUID, budget: int | None) -> None:
        with Session(self._transactions) as session, session.begin():
            pauses.set_budget(session, batch_id, budget)

    def leave_one_credit(self, batch_id: uuid.UUID | None) -> None:
        """Set the batch's budget to one more than it has spent."""
        spent = "SELECT count(*) FROM attempts JOIN jobs ON jobs.id = job_id"
        its = f"({spent} WHERE batch_id = batches.id AND outcome <> 'not_charged')"
        self._execute(f"UPDATE batches SET spent = {its}, budget = {its} + 1 WHERE id = :id", id=batch_id)  # noqa: S608

    def approve(self, batch_id: uuid.UUID) -> None:
        with Session(self._transactions) as session, session.begin():
            approval.approve(session, batch_id)

    def cancel_batch(self, batch_id: uuid.UUID, *, and_its_jobs: bool = True) -> None:
        """Run the first statement of cancelling, and the second unless the API dies between them."""
        with Session(self._transactions) as session, session.begin():
            begin_cancelling(session, batch_id)
        if and_its_jobs:
            ids = self.jobs("batch_id = :id", id=batch_id)
            with self._transactions.begin() as connection:
                queue.cancel_all(connection, ids)

    def cancel(self, job_id: uuid.UUID) -> None:
        with self._transactions.begin() as connection:
            queue.cancel(connection, job_id)

    def retry(self, job_id: uuid.UUID) -> None:
        with self._transactions.begin() as connection:
            unknown = connection.scalar(text(UNKNOWN), {"id": job_id})
            if queue.retry(connection, job_id):
                self.accepted_unknown[job_id] = unknown or 0

    def trip_breaker(self) -> None:
        storage_breaker.trip(self._connection, "test")

    def close_breaker(self) -> None:
        storage_breaker.close(self._connection)

    # Actions of the dispatcher.

    def tick(self, count: int) -> None:
        """Promote, unblock, and dispatch so many calls and copies; their messages are sent."""
        promote_due(self._connection)
        self._unblocker.unblock(self._connection)
        self.promote_waiting()
        self.messages += dispatch_copies(self._connection, count, lease=LEASE)
        dispatched = dispatch(
            self._connection, count, lease=LEASE, reuse_scope=REUSE_SCOPE, reuse_room=MOST_SERVED
        )
        self.messages += dispatched.calls
        self.reused += [dispatched.reused] if dispatched.reused else []

    def promote_waiting(self) -> None:
        """Promote jobs whose buyer is done, and let buyers inherit priority."""
        self._promoter.promote(self._connection)

    def audit(self) -> None:
        """Run every check of the auditor with repairs, as if each finding was confirmed."""
        for check in CHECKS:
            seen = {finding.id for finding in check.find(self._connection, EVERYTHING)}
            audit(self._connection, check, self.bounds, seen)

    def rescue(self, *, silent: uuid.UUID | None = None) -> None:
        """Rescue the jobs of dead workers, and those of one that is only silent."""
        gone = [worker for worker, lives in self.workers.items() if not lives or worker == silent]
        workers.rescue(self._connection, gone, self.bounds)

    # Actions of a worker.

    @property
    def living(self) -> list[uuid.UUID]:
        return [worker for worker, lives in self.workers.items() if lives]

    def start_worker(self) -> None:
        self.workers[workers.register(self._connection, host="here", pid=len(self.workers) + 1)] = True

    def deliver(self, message: tuple[uuid.UUID, int], worker: uuid.UUID) -> None:
        """Deliver a message, perhaps not for the first time."""
        job_id, fence = message
        if message in self._carried(worker):
            return
        claim = queue.claim(self._connection, job_id, fence, worker)
        if claim is not None:
            self.held_jobs.append(HeldJob(worker, claim))

    def acquire(self, held: HeldJob) -> None:
        """Acquire the cutout: this job buys it, waits for the buyer, or reuses it."""
        sha256 = sha256_of(held.claim.source)
        found = queue.acquire_result(self._connection, held.claim, sha256, MAKING)
        match found:
            case Acquired():
                held.buys = True
            case TakenByOther(buyer):
                self.settle(held, Snooze("TWIN_IS_BOUGHT", "another buys it", 1.0, waits_for=buyer))
            case BoughtBefore() if found.stored.key in self.cutouts:
                if found.missed:
                    queue.find_again(self._connection, held.claim, sha256, found)
                self.settle(held, Succeeded(found.stored, reused=True))
            case BoughtBefore():
                wait = queue.miss_result(self._connection, held.claim, sha256, found)
                held.buys = wait is None
                if wait:
                    self.settle(held, wait)

    def serve(self, message: Dispatched) -> None:
        """Complete the jobs of a message whose cutouts are in the bucket; requeue or delay the others."""
        intact: list[ReusableJob] = []
        for each in queue.find_bought(self._connection, message, REUSE_SCOPE):
            if each.stored.key in self.cutouts:
                intact.append(each)
                if each.missed:
                    queue.find_it_again(self._connection, each, REUSE_SCOPE)
            elif wait := queue.miss(self._connection, each, REUSE_SCOPE):
                queue.delay(self._connection, [(each.job_id, each.fence)], wait)
        if intact:
            queue.complete_reused(self._connection, intact, REUSE_SCOPE)
        queue.requeue(self._connection, message)

    def begin(self, held: HeldJob) -> None:
        """Begin a call, or settle the job if it must not call."""
        self._note_begun(held, self._begin(held))

    def begin_at_once(self, held_jobs: Sequence[HeldJob]) -> None:
        """Begin calls of several workers; all have sent their statement before the first one gets a reply."""
        if not held_jobs:
            return
        with ThreadPoolExecutor(len(held_jobs)) as pool:
            with self._transactions.begin() as connection:
                connection.execute(text(LOCK_BATCHES))
                replies = [pool.submit(self._begin, held) for held in held_jobs]
                self._until_all_wait(replies)
            answers = [each.result() for each in replies]
        for held, answer in zip(held_jobs, answers, strict=True):
            self._note_begun(held, answer)

    def _until_all_wait(self, replies: Sequence[Future[int | NotBegun]]) -> None:
        """Wait until each has a reply, since it needs no credit, or waits for a lock."""
        while self._connection.scalar(text(BLOCKED)) < sum(not each.done() for each in replies):
            wait(replies, timeout=0.002)

    def _begin(self, held: HeldJob) -> int | NotBegun:
        with self._engine.connect() as connection:
            return queue.begin_attempt(
                connection,
                held.claim,
                number=held.claim.attempts + 1,
                account=ACCOUNT,
                image_sha256=b"x" * 32,
                source_sha256=sha256_of(held.claim.source),
                recipe=MAKING,
            )

    def _note_begun(self, held: HeldJob, answer: int | NotBegun) -> None:
        if isinstance(answer, NotBegun):
            self.settle(held, self._why(held, answer))
        else:
            held.attempt_id = answer
            self.begun[answer] = held

    def _why(self, held: HeldJob, answer: NotBegun) -> Outcome:
        if answer is NotBegun.HELD:
            sha256 = sha256_of(held.claim.source)
            picture = queue.find_held_picture(self._connection, held.claim, sha256, MAKING)
            if picture is not None:
                return Hold(picture.code, f"the same picture is held as job {picture.job_id}")
        return NOT_BEGUN[answer]

    def charge(self, held: HeldJob) -> None:
        """Let the call succeed, unless it has already; its response is unread."""
        if held.url is None:
            held.url = self.endpoint.charge(held.claim.job_id)

    def read_answer(self, held: HeldJob) -> None:
        """Record the response to a charged call; the job continues with the copy."""
        claim = self._record(held)
        held.attempt_id = held.url = None
        held.claim = claim
        if claim.result is None:
            # The job has ended meanwhile, or has another result: this settling changes nothing.
            self.settle(held, Snooze("NOT_BEGUN", "the claim was lost", 0.0))

    def _record(self, held: HeldJob) -> Claim:
        """Record a paid result: it belongs to the job, whoever holds it, unless the job needs none."""
        assert held.attempt_id is not None
        assert held.url is not None
        its = {"id": held.claim.job_id}
        takes_it = self.jobs(TAKES_A_RESULT, **its)
        claim = held.claim.with_result(
            queue.record_result(
                self._connection,
                held.claim,
                held.attempt_id,
                CHARGED,
                url=held.url,
                lifetime=timedelta(days=1),
                sent=(10, 20),
            )
        )
        if takes_it:
            assert self.jobs(HAS_THE_RESULT, **its, url=held.url), f"job {its['id']} lost its paid result"
        return claim

    def end_call(self, held: HeldJob, answer: Answer, outcome: Outcome) -> None:
        """End a call without a result."""
        assert held.attempt_id is not None
        queue.end_attempt(self._connection, held.attempt_id, answer)
        held.attempt_id = held.url = None
        self.settle(held, outcome)

    def refuse(self, held: HeldJob) -> None:
        self.end_call(held, REFUSED, Retry(Step.CALL, "PROCESSING_FAILURE", "refused"))

    def drop_answer(self, held: HeldJob) -> None:
        self.end_call(held, NO_ANSWER, Unknown("NO_ANSWER", "no answer"))

    def settle(self, held: HeldJob, outcome: Outcome) -> None:
        queue.settle(self._connection, held.claim, outcome, self.bounds)
        self.held_jobs.remove(held)

    def store_cutout(self, held: HeldJob) -> None:
        key = f"cutouts/{held.claim.job_id}.png"
        self.cutouts.add(key)
        stored = StoredObject(key, b"s" * 32, "image/png", 100, 10, 20)
        self.settle(held, Succeeded(stored, bucket=MAKING.bucket))

    def fail_copy(self, held: HeldJob) -> None:
        self.settle(held, Retry(Step.COPY, "STORAGE_AWAY", "the bucket is unreachable"))

    def lose_result(self, held: HeldJob) -> None:
        self.settle(held, Lost("RESULT_EXPIRED", "it is gone"))

    def fail_source(self, held: HeldJob) -> None:
        self.settle(held, Fail("SOURCE_MISSING", "the source is missing"))

    def forget(self, held: HeldJob) -> None:
        """Let a worker's thread give a job up silently while the worker lives."""
        self.held_jobs.remove(held)

    def beat(self, worker: uuid.UUID) -> None:
        """Send a heartbeat with the jobs in flight."""
        workers.beat(self._connection, workers.Identity(worker, "here", 1), self._carried(worker))

    def _carried(self, worker: uuid.UUID) -> set[tuple[uuid.UUID, int]]:
        return {(held.claim.job_id, held.claim.fence) for held in self.held_jobs if held.worker == worker}

    def kill(self, worker: uuid.UUID, *, keeps_answers: bool) -> None:
        """Let a worker die with the jobs that it holds; a response may be in its spool."""
        self.workers[worker] = False
        for held in [held for held in self.held_jobs if held.worker == worker]:
            self.held_jobs.remove(held)
            if held.url is not None and keeps_answers:
                self.spooled.append(held)

    def replay(self) -> None:
        """Let another worker record the responses of the spool."""
        for held in self.spooled:
            self._record(held)
        self.spooled.clear()

    # The bucket.

    def lose_cutout(self, n: int) -> None:
        """Delete one of the cutouts in the bucket."""
        keys = self._connection.scalars(text(BOUGHT_CUTOUTS), {"keys": list(self.cutouts)}).all()
        if keys:
            lost = keys[n % len(keys)]
            self.cutouts.remove(lost)
            self.deleted.update(self._connection.scalars(text(PICTURE_OF), {"key": lost}))

    def forget_missing(self) -> None:
        """Let missing cutouts be bought again, as a person does."""
        missing_results.forget(self._connection)

    def forget_missing_if_stopped(self) -> None:
        """Do so once missing cutouts stop all purchases: those lost unseen are found one after the other."""
        if missing_results.read_missing(self._connection).stopped:
            self.forget_missing()

    # The time.

    def let_time_pass(self) -> None:
        """End every delay and every lease, and let open calls have begun long ago."""
        for statement in MOVED_CLOCK:
            self._execute(statement)

    # Reads.

    def jobs(self, which: str = "true", **values: object) -> Sequence[uuid.UUID]:
        """Find ids by a condition, in the order of enqueueing, so that a failure can be reproduced."""
        query = f"SELECT id FROM jobs WHERE {which} ORDER BY length(source), source"  # noqa: S608
        return self._connection.scalars(text(query), values).all()

    def rows(self, query: str, **values: object) -> Sequence[RowMapping]:
        """Run a query; returns its rows."""
        return self._connection.execute(text(query), values).mappings().all()

    def explain(self, job_id: uuid.UUID) -> Explanation:
        """Explain a job as the system does."""
        with Session(self._transactions) as session:
            return explain(session, session.get_one(Job, job_id), Settings(()))

    def _execute(self, statement: str, **values: object) -> None:
        self._connection.execute(text(statement), values)
