"""Hands out due work, rescues the jobs of dead workers, probes what is paused. Run two: one leads."""

import logging
import math
import threading
import time
from datetime import timedelta
from functools import partial

import redis
from sqlalchemy import Connection, Engine, text

from cutout.billing import accounts, learned_limits
from cutout.billing.credits_left import CreditsLeft
from cutout.enums import Reuse, Step, Stop
from cutout.models.database import is_away, kind_of
from cutout.queue import dispatch, workers
from cutout.queue.blocks import download_limit, storage_breaker
from cutout.queue.blocks.blocked_jobs import Blocked
from cutout.queue.dispatch import QueueSnapshot
from cutout.queue.index_marks import LineMarks
from cutout.queue.leader import LEADER_LOCK
from cutout.queue.reuse.recipe import recipe_of
from cutout.queue.reuse.same_picture import WaitingJobs
from cutout.queue.reuse.serve_reused import Dispatched, ReuseScope
from cutout.queue.settle import RetryLimits
from cutout.queue.snapshot_marks import Marks
from cutout.results import ended_batches
from cutout.schedules import keep_report, runs_to_report
from cutout.schedules.rewritten_reports import keep_results_and_reports
from cutout.settings import Settings
from cutout.storage import Bucket
from worker.dispatcher import metrics
from worker.dispatcher.artifact_writer import ArtifactWriter
from worker.dispatcher.auditor import Auditor
from worker.dispatcher.bucket_monitor import BucketProbe
from worker.dispatcher.credit_poller import CreditPoller
from worker.dispatcher.duty import Duty
from worker.dispatcher.heartbeat_monitor import HeartbeatMonitor
from worker.dispatcher.limit_poller import LimitPoller
from worker.dispatcher.live_workers import Takers
from worker.dispatcher.pruner import Pruning
from worker.dispatcher.publisher import Publisher
from worker.dispatcher.schedule_runner import ScheduleRunner
from worker.dispatcher.unsaved_results_monitor import ResultsWatch
from worker.limiter.limiter import Ceilings
from worker.limiter.slots import limiter_of
from worker.task_kinds import TaskKind
from worker.webhooks import Notifier

log = logging.getLogger(__name__)

TICK_S = 0.2
# While jobs go out: whoever comes next waits no longer than need be.
BUSY_TICK_S = 0.1
STANDBY_S = 2.0
LOOK_AT_WORKERS_S = 0.8
KEEP_LIMITS_EVERY_S = 1.0
REDIS_TIMEOUT_S = 5
MOST_COPIES_OUTSTANDING = 200
MOST_REUSING = 500
LAST_MESSAGES_WITHIN_S = 2.0
LAST_WEBHOOKS_WITHIN_S = 5.0
# Whatever keeps the process after SIGTERM, such as a frozen Postgres, is left to the next leader.
ENDS_WITHIN_S = 10.0

# Who leads asks Postgres every 0.2 s, who stands by every 2 s. From one that is frozen, or whose host is
# gone, Postgres takes the lock back by ending its session.
ENDS_SILENT_SESSIONS = {
    "idle_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    # To compile the statement that hands out would take longer than to run it, each time.
    "jit": "off",
}


class Dispatcher:
    """One process. The connection that holds the leader's lock does the work: losing one ends both.

    Each statement commits by itself, so that a message is never sent before its job can be claimed.
    Only Postgres is waited for here; what asks any other server has a thread of its own.
    """

    def __init__(self, known: Settings, engine: Engine) -> None:
        self._settings = known
        self._engine = engine
        self._stopping = threading.Event()
        secrets = [key.get_secret_value() for key in known.require_endpoint_api_keys()]
        self._keys = {accounts.account_name(secret): secret for secret in secrets}
        self._lease = timedelta(seconds=known.message_lease_seconds)
        self._dying_within = timedelta(seconds=known.lifeboat_seconds)
        self._bounds = RetryLimits(known.retry_unknown, known.retry_lost)
        self._watch = HeartbeatMonitor(known.worker_silence_seconds)
        self._look_at = 0.0
        self._marks = Marks()
        self._lines = LineMarks()
        self._parked = Blocked()
        self._twins = WaitingJobs()
        self._limits = _watch_limits(known, list(self._keys))
        self._keep_limits_at = 0.0
        self._publisher = Publisher(self._lease)
        self._takers = Takers(known.worker_silence_seconds)
        self._returns = download_limit.Returns()
        self._shelf = ReuseScope(recipe_of(known), known.reuse) if known.reuse is not Reuse.OFF else None
        bucket = Bucket(known, connections=1)
        self._credits = {
            name: CreditPoller(known.endpoint_url, secret) for name, secret in self._keys.items()
        }
        self._credits_left = {name: CreditsLeft(name) for name in self._keys}
        self._bucket_probe = BucketProbe(bucket)
        self._unfetched = ResultsWatch(self._limits)
        self._webhooks = Notifier(known)
        self._results = ArtifactWriter(known, "results", ended_batches, keep_results_and_reports)
        self._reports = ArtifactWriter(known, "reports", runs_to_report, keep_report)
        self._schedules = ScheduleRunner(known)
        self._auditor = Auditor(self._bounds)
        self._parts = [
            Duty(work)
            for work in (
                self._rescue,
                self._wake,
                self._unpark,
                self._look_at_twins,
                self._keep_limits,
                self._look_at_accounts,
                self._bucket_probe.look,
                self._unfetched.look,
                self._hand_out_copies,
                self._hand_out_calls,
                self._results.look,
                self._webhooks.tick,
                self._reports.look,
                self._schedules.look,
                self._auditor.look,
                Pruning().look,
            )
        ]

    def stop(self) -> None:
        """Make run() return after the present tick."""
        self._stopping.set()

    def run(self) -> None:
        """Lead or stand by until stopped."""
        self._publisher.start()
        self._limits.start()
        while not self._stopping.is_set():
            try:
                with self._engine.connect() as connection:
                    self._stand_by(connection)
                    with metrics.LEADS.track_inprogress():
                        self._lead(connection)
                continue
            except Exception as error:
                if is_away(error):
                    log.warning("Postgres is away (%s), trying again", kind_of(error))
                else:
                    log.exception("the dispatcher met an error that nobody expected, trying again")
            self._auditor.rest()
            # The lock goes with the session: whoever is better off may lead.
            self._engine.dispose()
            self._stopping.wait(STANDBY_S)
        self._publisher.flush(LAST_MESSAGES_WITHIN_S)
        self._webhooks.finish(LAST_WEBHOOKS_WITHIN_S)

    def _stand_by(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            leads = connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            connection.commit()
            if leads:
                log.info("this dispatcher leads")
                return
            self._stopping.wait(STANDBY_S)

    def _lead(self, connection: Connection) -> None:
        for name in self._keys:
            accounts.ensure(connection, name)
        self._watch = HeartbeatMonitor(self._settings.worker_silence_seconds)
        self._marks = Marks()
        self._lines = LineMarks()
        while not self._stopping.is_set():
            began = time.monotonic()
            found = self._read_snapshot(connection)
            for part in self._parts:
                part.run(connection, found)
            metrics.TICK.observe(time.monotonic() - began)
            tick = BUSY_TICK_S if found.ready[Step.CALL] and found.calls_may_go else TICK_S
            self._stopping.wait(max(tick - (time.monotonic() - began), 0.0))

    def _read_snapshot(self, connection: Connection) -> QueueSnapshot:
        return dispatch.read_snapshot(
            connection,
            list(self._keys),
            self._settings.day_budget,
            self._marks,
            self._lines,
            lease=self._lease,
        )

    def _rescue(self, connection: Connection, _found: QueueSnapshot) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_AT_WORKERS_S
        gone = self._watch.dead(workers.heartbeats(connection))
        if gone:
            rescued = workers.rescue(connection, gone, self._bounds)
            metrics.RESCUED.inc(rescued)
            log.warning("rescued %d jobs of %d workers that are gone", rescued, len(gone))
            if rescued >= workers.MOST_RESCUED:
                self._look_at = now

    def _wake(self, connection: Connection, found: QueueSnapshot) -> None:
        if found.due:
            dispatch.promote_due(connection, self._marks, self._lines)

    def _unpark(self, connection: Connection, found: QueueSnapshot) -> None:
        if found.blocked:
            self._parked.bring_back(connection, self._lines)

    def _look_at_twins(self, connection: Connection, found: QueueSnapshot) -> None:
        if found.waiting:
            self._twins.look(connection, self._lines)

    def _keep_limits(self, connection: Connection, _found: QueueSnapshot) -> None:
        """Write down what was learned: Redis may lose it, and people want to see it."""
        now = time.monotonic()
        if now >= self._keep_limits_at:
            self._keep_limits_at = now + KEEP_LIMITS_EVERY_S
            for name, look in self._limits.looks().items():
                learned_limits.save(connection, name, look.state())

    def _look_at_accounts(self, connection: Connection, found: QueueSnapshot) -> None:
        """Read credits from time to time, those of a paused account more often. Defaults costs none."""
        paused = self._keys.keys() - found.open_accounts
        due = accounts.due_for_probe(connection, list(paused)) if paused else []
        for name, credit in self._credits.items():
            reading = credit.reading()
            if reading is not None:
                self._take_reading(connection, name, reading, paused=name in paused)
            if name in due or credit.older_than(self._settings.credits_every_seconds):
                credit.start()
            elif name not in paused and credit.worth_a_look():
                self._keep_reserve(connection, name)

    def _take_reading(self, connection: Connection, name: str, reading: float, *, paused: bool) -> None:
        accounts.keep_credits(connection, name, reading if math.isfinite(reading) else None)
        enough = reading >= self._settings.credit_reserve + 1
        if paused and enough:
            accounts.resume(connection, name)
            log.info("the account %s works again", name)
        elif not paused:
            self._keep_reserve(connection, name)

    def _keep_reserve(self, connection: Connection, name: str) -> None:
        """Stop an account before the endpoint refuses it."""
        left, reserve = self._credits_left[name].look(connection), self._settings.credit_reserve
        if left is not None and left < reserve + 1:
            message = f"{left:,.0f} credits left of which {reserve:,} are reserved; buy credits"
            if accounts.pause(connection, name, code=accounts.BELOW_RESERVE, message=message):
                log.warning("the account %s is paused: %s", name, message)

    def _hand_out_copies(self, connection: Connection, found: QueueSnapshot) -> None:
        room = MOST_COPIES_OUTSTANDING - found.outstanding[Step.COPY]
        if not (found.ready[Step.COPY] and room > 0 and self._publisher.idle(TaskKind.COPY)):
            return
        if self._takers.live(connection):
            dying_within = self._dying_within if found.away else None
            copies = dispatch.dispatch_copies(connection, room, lease=self._lease, dying_within=dying_within)
            self._send(TaskKind.COPY, copies)

    def _hand_out_calls(self, connection: Connection, found: QueueSnapshot) -> None:
        idle = self._publisher.idle(TaskKind.CALL) and self._publisher.idle(TaskKind.SERVE)
        is_any = found.ready[Step.CALL] or found.limited
        if not (is_any and found.may_probe and idle and self._takers.live(connection)):
            return
        if found.stops:
            if found.stops == {Stop.RESULTS} and self._unfetched.one_may_call:
                self._let_one_call(connection, found)
            return
        target_outstanding = self._limits.target_outstanding(found.open_accounts)
        metrics.WINDOW.set(target_outstanding)
        look = partial(self._look_at_downloads, connection)
        room, present = target_outstanding - found.outstanding[Step.CALL], None
        if room > 0 or found.long_out:
            present = look()
            # What waits for a slow server keeps no call from going out; waiting for a slot looks alike.
            room += max(present.slow - self._limits.waiting(found.open_accounts), 0)
        if room <= 0 and self._limits.probe_is_due(found.open_accounts):
            room = 1
        if room <= 0:
            self._limits.grow(found.open_accounts)
        else:
            present = present or look()
            if found.limited:
                self._returns.bring_back(connection, present, self._lines)
            turns = dispatch.dispatch(
                connection,
                room,
                lease=self._lease,
                reuse_scope=self._shelf,
                room=MOST_REUSING - found.serving,
                downloads=download_limit.first_as(present, look),
                lines=self._lines,
            )
            self._send(TaskKind.CALL, turns.calls)
            self._send(TaskKind.SERVE, turns.served)

    def _look_at_downloads(self, connection: Connection) -> download_limit.Downloads:
        threads = self._takers.call_threads
        return download_limit.look(connection, threads, lease=self._lease, since=self._marks.outstanding)

    def _let_one_call(self, connection: Connection, found: QueueSnapshot) -> None:
        """Results cannot be fetched, and there is none left to try: one job buys another."""
        self._unfetched.one_may_call = False
        if found.limited:
            # There may be no other: nothing else comes back while calls stop.
            present = self._look_at_downloads(connection)
            self._returns.bring_back(connection, present, self._lines)
        calls = dispatch.dispatch_calls(connection, 1, lease=self._lease)
        for job_id, _ in calls:
            storage_breaker.let_one_call(connection, job_id)
        self._send(TaskKind.CALL, calls)

    def _send(self, task_kind: TaskKind, dispatched: Dispatched) -> None:
        metrics.DISPATCHED.labels(task_kind).inc(len(dispatched))
        self._publisher.send(task_kind, dispatched)


def _watch_limits(known: Settings, accounts_known: list[str]) -> LimitPoller:
    client = redis.Redis.from_url(
        known.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    limiters = {name: limiter_of(known, client, name) for name in accounts_known}
    return LimitPoller(limiters, Ceilings(known.calls_per_second, known.calls_in_flight))
