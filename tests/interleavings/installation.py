"""A whole installation without its processes: the store's own statements on real Postgres, one at a time.

What a dispatcher, a worker, a person or the time would do is a method; nothing else changes the database but
the clock, which is moved by moving the rows.
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
from tests.interleavings.hand import Hand
from tests.interleavings.pictures import sha256_of, source_of
from tests.support.steps import MAKING
from worker.pipeline.refusals import NOT_BEGUN

ACCOUNT = "account"
LEASE = timedelta(seconds=60)
REUSE_SCOPE = ReuseScope(MAKING)
MOST_SERVED = 10
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
REFUSED = Answer(AttemptOutcome.NOT_CHARGED, http_status=500, code="PROCESSING_FAILURE")
NO_ANSWER = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER")
PLANNED = (
    "INSERT INTO ingests (batch_id, fingerprint, kind, options, finished_at)"
    " VALUES (:id, 'x', 'CSV', '{\"plan\": true}', now())"
)
HELD_FOR_APPROVAL = (
    "UPDATE jobs SET state = 'held', queue_state = 'blocked', code = 'NEEDS_APPROVAL', message = 'x'"
    " WHERE batch_id = :id"
)
MOVED_CLOCK = (
    "UPDATE jobs SET scheduled_at = now() WHERE scheduled_at > now()",
    "UPDATE attempts SET begun_at = begun_at - interval '1 hour' WHERE ended_at IS NULL",
    # A second look at a cutout that is missing counts by then, and the first one counts still.
    "UPDATE bought_results SET missing_since = missing_since - interval '5 minutes'",
)
UNKNOWN = "SELECT count(*) FROM attempts WHERE job_id = :id AND outcome = 'unknown'"
TAKES_A_RESULT = "id = :id AND finished_at IS NULL AND result_url IS NULL"
HAS_THE_RESULT = "id = :id AND step = 'copy' AND result_url = :url"
LOCK_BATCHES = "SELECT id FROM batches ORDER BY id FOR UPDATE"
# In the order of enqueueing, so that a failure is found again.
BOUGHT_CUTOUTS = (
    "SELECT key FROM jobs WHERE key = ANY(:keys) AND NOT reused ORDER BY length(source), source, batch_id"
)
PICTURE_OF = "SELECT source_sha256 FROM jobs WHERE key = :key AND NOT reused"
BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


class World:
    """One database, its workers and what they hold, and the endpoint with the truth."""

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
        self.hands: list[Hand] = []
        # Answers that a dead worker left in its spool.
        self.spooled: list[Hand] = []
        # Calls that were begun and not looked at yet, by their attempts.
        self.begun: dict[int, Hand] = {}
        # How many unknown charges each job had when a person let it go on all the same.
        self.accepted_unknown: dict[uuid.UUID, int] = {}
        # Jobs whose cutouts were bought before, on their way to a worker.
        self.reused: list[Dispatched] = []
        # What the bucket holds.
        self.cutouts: set[str] = set()
        # How often somebody deleted the cutout of a source.
        self.deleted: Counter[bytes] = Counter()
        self._parked = Unblocker()
        self._twins = WaitingJobsPromoter()
        self._pictures = 0
        accounts.ensure(self._connection, ACCOUNT)

    def close(self) -> None:
        """Give up what holds the database."""
        self._connection.close()

    # What a producer does.

    def order(self, count: int, *, budget: int | None = None, plan: bool = False) -> uuid.UUID:
        """A batch of so many jobs, each with a picture of its own."""
        self._pictures += count
        return self._order(range(self._pictures - count, self._pictures), budget=budget, plan=plan)

    def order_again(
        self, count: int, *, skip: int, budget: int | None = None, priority: Priority = Priority.NORMAL
    ) -> uuid.UUID:
        """A batch of so many pictures that were ordered before, if there are as many."""
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

    # What a person does.

    def pause(self, batch_id: uuid.UUID | None) -> None:
        pauses.pause(self._connection, batch_id)

    def resume(self, batch_id: uuid.UUID | None) -> None:
        pauses.resume(self._connection, batch_id)

    def set_window(self, batch_id: uuid.UUID, *, is_open: bool | None) -> None:
        """A window that is open or over, or none."""
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
        """The first step of cancelling, and the second unless the API dies between them."""
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

    # What the dispatcher does.

    def tick(self, count: int) -> None:
        """Wake, bring back, and hand out so many calls and copies; the messages are on their way."""
        promote_due(self._connection)
        self._parked.unblock(self._connection)
        self.look_at_twins()
        self.messages += dispatch_copies(self._connection, count, lease=LEASE)
        turns = dispatch(
            self._connection, count, lease=LEASE, reuse_scope=REUSE_SCOPE, reuse_room=MOST_SERVED
        )
        self.messages += turns.calls
        self.reused += [turns.reused] if turns.reused else []

    def look_at_twins(self) -> None:
        """Let twins go on whose buyer is done, and lend their places to the others."""
        self._twins.promote(self._connection)

    def audit(self) -> None:
        """Every check of the auditor, repaired; what only a second look confirms is there at the second."""
        for check in CHECKS:
            seen = {finding.id for finding in check.find(self._connection, EVERYTHING)}
            audit(self._connection, check, self.bounds, seen)

    def rescue(self, *, silent: uuid.UUID | None = None) -> None:
        """Take the jobs of dead workers from them, and those of one that is only silent."""
        gone = [worker for worker, lives in self.workers.items() if not lives or worker == silent]
        workers.rescue(self._connection, gone, self.bounds)

    # What a worker does.

    @property
    def living(self) -> list[uuid.UUID]:
        return [worker for worker, lives in self.workers.items() if lives]

    def start_worker(self) -> None:
        self.workers[workers.register(self._connection, host="here", pid=len(self.workers) + 1)] = True

    def deliver(self, message: tuple[uuid.UUID, int], worker: uuid.UUID) -> None:
        """A message arrives, perhaps not for the first time."""
        job_id, fence = message
        if message in self._carried(worker):
            return
        claim = queue.claim(self._connection, job_id, fence, worker)
        if claim is not None:
            self.hands.append(Hand(worker, claim))

    def ask(self, hand: Hand) -> None:
        """Ask whose it is to buy the cutout: this job goes on, waits for the one that does, or is served."""
        sha256 = sha256_of(hand.claim.source)
        found = queue.acquire_result(self._connection, hand.claim, sha256, MAKING)
        match found:
            case Acquired():
                hand.buys = True
            case TakenByOther(buyer):
                self.settle(hand, Snooze("TWIN_IS_BOUGHT", "another buys it", 1.0, waits_for=buyer))
            case BoughtBefore() if found.stored.key in self.cutouts:
                if found.missed:
                    queue.find_again(self._connection, hand.claim, sha256, found)
                self.settle(hand, Succeeded(found.stored, reused=True))
            case BoughtBefore():
                wait = queue.miss_result(self._connection, hand.claim, sha256, found)
                hand.buys = wait is None
                if wait:
                    self.settle(hand, wait)

    def serve(self, message: Dispatched) -> None:
        """End the jobs of a message whose cutouts the bucket holds; the others go back in line, or rest."""
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

    def begin(self, hand: Hand) -> None:
        """Write the intent down, or settle the job for it may not be called."""
        self._note_begun(hand, self._begin(hand))

    def begin_at_once(self, hands: Sequence[Hand]) -> None:
        """Several workers do so, all of which have asked before the first of them is answered."""
        if not hands:
            return
        with ThreadPoolExecutor(len(hands)) as pool:
            with self._transactions.begin() as connection:
                connection.execute(text(LOCK_BATCHES))
                asked = [pool.submit(self._begin, hand) for hand in hands]
                self._until_all_wait(asked)
            answers = [each.result() for each in asked]
        for hand, answer in zip(hands, answers, strict=True):
            self._note_begun(hand, answer)

    def _until_all_wait(self, asked: Sequence[Future[int | NotBegun]]) -> None:
        """Each is answered, for it needs no credit, or waits for the lock that somebody holds."""
        while self._connection.scalar(text(BLOCKED)) < sum(not each.done() for each in asked):
            wait(asked, timeout=0.002)

    def _begin(self, hand: Hand) -> int | NotBegun:
        with self._engine.connect() as connection:
            return queue.begin_attempt(
                connection,
                hand.claim,
                number=hand.claim.attempts + 1,
                account=ACCOUNT,
                image_sha256=b"x" * 32,
                source_sha256=sha256_of(hand.claim.source),
                recipe=MAKING,
            )

    def _note_begun(self, hand: Hand, answer: int | NotBegun) -> None:
        if isinstance(answer, NotBegun):
            self.settle(hand, self._why(hand, answer))
        else:
            hand.attempt_id = answer
            self.begun[answer] = hand

    def _why(self, hand: Hand, answer: NotBegun) -> Outcome:
        if answer is NotBegun.HELD:
            sha256 = sha256_of(hand.claim.source)
            held = queue.find_held_picture(self._connection, hand.claim, sha256, MAKING)
            if held is not None:
                return Hold(held.code, f"the same picture is held as job {held.job_id}")
        return NOT_BEGUN[answer]

    def charge(self, hand: Hand) -> None:
        """The call succeeds, unless it has already; the answer is unread."""
        if hand.url is None:
            hand.url = self.endpoint.charge(hand.claim.job_id)

    def read_answer(self, hand: Hand) -> None:
        """A charged call's answer is written down; the job goes on with the copy."""
        claim = self._record(hand)
        hand.attempt_id = hand.url = None
        hand.claim = claim
        if claim.result is None:
            # The job has ended meanwhile, or has another result: whatever is left is settled in vain.
            self.settle(hand, Snooze("NOT_BEGUN", "the claim was lost", 0.0))

    def _record(self, hand: Hand) -> Claim:
        """A paid result is the job's from here on, whichever worker holds it, unless it needs none."""
        assert hand.attempt_id is not None
        assert hand.url is not None
        its = {"id": hand.claim.job_id}
        takes_it = self.jobs(TAKES_A_RESULT, **its)
        claim = hand.claim.with_result(
            queue.record_result(
                self._connection,
                hand.claim,
                hand.attempt_id,
                CHARGED,
                url=hand.url,
                lifetime=timedelta(days=1),
                sent=(10, 20),
            )
        )
        if takes_it:
            assert self.jobs(HAS_THE_RESULT, **its, url=hand.url), f"job {its['id']} lost its paid result"
        return claim

    def end_call(self, hand: Hand, answer: Answer, outcome: Outcome) -> None:
        """A call ends without a result."""
        assert hand.attempt_id is not None
        queue.end_attempt(self._connection, hand.attempt_id, answer)
        hand.attempt_id = hand.url = None
        self.settle(hand, outcome)

    def refuse(self, hand: Hand) -> None:
        self.end_call(hand, REFUSED, Retry(Step.CALL, "PROCESSING_FAILURE", "refused"))

    def drop_answer(self, hand: Hand) -> None:
        self.end_call(hand, NO_ANSWER, Unknown("NO_ANSWER", "no answer"))

    def settle(self, hand: Hand, outcome: Outcome) -> None:
        queue.settle(self._connection, hand.claim, outcome, self.bounds)
        self.hands.remove(hand)

    def store_cutout(self, hand: Hand) -> None:
        key = f"cutouts/{hand.claim.job_id}.png"
        self.cutouts.add(key)
        stored = StoredObject(key, b"s" * 32, "image/png", 100, 10, 20)
        self.settle(hand, Succeeded(stored, bucket=MAKING.bucket))

    def fail_copy(self, hand: Hand) -> None:
        self.settle(hand, Retry(Step.COPY, "STORAGE_AWAY", "the bucket is unreachable"))

    def lose_result(self, hand: Hand) -> None:
        self.settle(hand, Lost("RESULT_EXPIRED", "it is gone"))

    def fail_source(self, hand: Hand) -> None:
        self.settle(hand, Fail("SOURCE_MISSING", "the source is missing"))

    def forget(self, hand: Hand) -> None:
        """A worker's thread gives a job up without a word, and the worker lives."""
        self.hands.remove(hand)

    def beat(self, worker: uuid.UUID) -> None:
        """Say that it lives and what it carries."""
        workers.beat(self._connection, workers.Identity(worker, "here", 1), self._carried(worker))

    def _carried(self, worker: uuid.UUID) -> set[tuple[uuid.UUID, int]]:
        return {(hand.claim.job_id, hand.claim.fence) for hand in self.hands if hand.worker == worker}

    def kill(self, worker: uuid.UUID, *, keeps_answers: bool) -> None:
        """A worker dies with what it holds; an answer may lie in its spool."""
        self.workers[worker] = False
        for hand in [hand for hand in self.hands if hand.worker == worker]:
            self.hands.remove(hand)
            if hand.url is not None and keeps_answers:
                self.spooled.append(hand)

    def replay(self) -> None:
        """Another worker writes down what the spool holds."""
        for hand in self.spooled:
            self._record(hand)
        self.spooled.clear()

    # The bucket.

    def lose_cutout(self, n: int) -> None:
        """Somebody deletes one of those that the bucket holds."""
        keys = self._connection.scalars(text(BOUGHT_CUTOUTS), {"keys": list(self.cutouts)}).all()
        if keys:
            lost = keys[n % len(keys)]
            self.cutouts.remove(lost)
            self.deleted.update(self._connection.scalars(text(PICTURE_OF), {"key": lost}))

    def forget_missing(self) -> None:
        """A person lets what is missing be bought anew."""
        missing_results.forget(self._connection)

    # The time.

    def let_time_pass(self) -> None:
        """Every rest and every lease is over, and calls that are out were begun long ago."""
        for statement in MOVED_CLOCK:
            self._execute(statement)

    # What can be seen.

    def jobs(self, which: str = "true", **values: object) -> Sequence[uuid.UUID]:
        """Ids by a condition, in the order of enqueueing, so that a failure is found again."""
        query = f"SELECT id FROM jobs WHERE {which} ORDER BY length(source), source"  # noqa: S608
        return self._connection.scalars(text(query), values).all()

    def rows(self, query: str, **values: object) -> Sequence[RowMapping]:
        """The rows of a query."""
        return self._connection.execute(text(query), values).mappings().all()

    def explain(self, job_id: uuid.UUID) -> Explanation:
        """The system's own word on why a job waits."""
        with Session(self._transactions) as session:
            return explain(session, session.get_one(Job, job_id), Settings(()))

    def _execute(self, statement: str, **values: object) -> None:
        self._connection.execute(text(statement), values)
