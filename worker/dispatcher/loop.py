"""The dispatcher's loop: elect a leader, then run all duties in each tick. Run two dispatchers: one leads."""

import logging
import threading
import time
from datetime import timedelta

import redis
from sqlalchemy import Connection, Engine, text

from cutout.billing import accounts
from cutout.enums import Reuse, Step
from cutout.models.database import is_away, kind_of
from cutout.queue.leader import LEADER_LOCK
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.recipe import recipe_of
from cutout.queue.reuse.serve_reused import ReuseScope
from cutout.queue.settle import RetryLimits
from cutout.queue.signals import Signal, SignalListener
from cutout.queue.snapshot import QueueSnapshot, read_snapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks
from cutout.results import ended_batches
from cutout.schedules import keep_report, runs_to_report
from cutout.schedules.report_publish import keep_results_and_reports
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry.loops import WatchedLoop, watched
from worker.dispatcher import metrics
from worker.dispatcher.account_guard import AccountGuard
from worker.dispatcher.action_runner import change_runner, deletion_runner
from worker.dispatcher.artifact_writer import ArtifactWriter
from worker.dispatcher.auditor import Auditor
from worker.dispatcher.bucket_monitor import BucketMonitor
from worker.dispatcher.call_dispatch import CallDispatch
from worker.dispatcher.copy_dispatch import CopyDispatch
from worker.dispatcher.duty import Duty
from worker.dispatcher.limit_poller import LimitPoller
from worker.dispatcher.limit_recorder import LimitRecorder
from worker.dispatcher.live_workers import LiveWorkers
from worker.dispatcher.promoter import BlockedPromoter, DuePromoter, WaitingPromoter
from worker.dispatcher.pruner import Pruner
from worker.dispatcher.publisher import Publisher
from worker.dispatcher.rescuer import Rescuer
from worker.dispatcher.schedule_runner import ScheduleRunner
from worker.dispatcher.unsaved_results_monitor import UnsavedResultsMonitor
from worker.limiter.limiter import Ceilings
from worker.limiter.slots import limiter_of
from worker.webhooks import Notifier

log = logging.getLogger(__name__)

TICK_S = 0.2
# While calls are dispatched: a new job waits no longer than necessary.
BUSY_TICK_S = 0.1
STANDBY_S = 2.0
# Between ticks at signals: a producer that enqueues job by job makes no more of them.
SIGNALLED_TICK_S = 0.03
REDIS_TIMEOUT_S = 5
LOOP = "dispatcher"
# A tick takes milliseconds, and after an outage seconds.
TURN_WITHIN_S = 60.0
LAST_MESSAGES_WITHIN_S = 2.0
LAST_WEBHOOKS_WITHIN_S = 5.0
# A process that hangs longer after SIGTERM, as on a frozen Postgres, exits; the next leader continues.
ENDS_WITHIN_S = 10.0

# A leader queries Postgres every 0.2 s, a standby every 2 s. Postgres ends the session of a frozen or
# unreachable dispatcher after these times, which frees the leader's lock.
ENDS_SILENT_SESSIONS = {
    "idle_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    # Compiling the dispatch statement would take longer than running it, each time.
    "jit": "off",
}


class Dispatcher:
    """One process. The connection that holds the leader's lock also does the work: both are lost together.

    Each statement commits by itself, so a message is never sent before its job can be claimed. The loop waits
    for Postgres only; requests to all other servers have threads of their own.

    The duties of a tick, in this order, each in its own module:

    | duty | module |
    |---|---|
    | rescue the jobs of dead workers | rescuer |
    | promote due jobs, unblock jobs, promote jobs that wait for the same picture | promoter |
    | save the learned rate limits | limit_recorder |
    | read credits, pause and resume accounts | account_guard |
    | probe the bucket | bucket_monitor |
    | stop calls while too many results are unsaved | unsaved_results_monitor |
    | dispatch copies | copy_dispatch |
    | dispatch calls and reused cutouts | call_dispatch |
    | write results of batches, later reports of runs | artifact_writer |
    | send webhooks | worker.webhooks.notifier |
    | fire schedules and advance their runs | schedule_runner |
    | carry out actions on whole batches | action_runner |
    | audit the tables and repair them | auditor |
    | prune idempotency keys and sessions | pruner |
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._signalled_at = 0.0
        self._signals = SignalListener(settings, Signal.QUEUED, self._woken.set)
        self._loop = WatchedLoop(LOOP, TURN_WITHIN_S)
        secrets = [key.get_secret_value() for key in settings.require_endpoint_api_keys()]
        keys = {accounts.account_name(secret): secret for secret in secrets}
        self._accounts = list(keys)
        self._lease = timedelta(seconds=settings.message_lease_seconds)
        self._watermarks = SnapshotWatermarks()
        self._queue_watermarks = QueueWatermarks()
        self._limits = _limit_poller(settings, self._accounts)
        self._publisher = Publisher(self._lease)
        bounds = RetryLimits(settings.retry_unknown, settings.retry_lost)
        self._rescuer = Rescuer(settings.worker_silence_seconds, bounds)
        self._notifier = Notifier(settings)
        self._auditor = Auditor(bounds)
        live_workers = LiveWorkers(settings.worker_silence_seconds)
        unsaved_results = UnsavedResultsMonitor(self._limits)
        copies = CopyDispatch(
            self._publisher,
            live_workers,
            lease=self._lease,
            lifeboat_within=timedelta(seconds=settings.lifeboat_seconds),
        )
        calls = CallDispatch(
            self._publisher,
            live_workers,
            self._limits,
            unsaved_results,
            watermarks=self._watermarks,
            queue_watermarks=self._queue_watermarks,
            lease=self._lease,
            reuse_scope=_reuse_scope(settings),
        )
        self._duties = [
            Duty(tick)
            for tick in (
                self._rescuer.tick,
                DuePromoter(self._watermarks, self._queue_watermarks).tick,
                BlockedPromoter(self._queue_watermarks).tick,
                WaitingPromoter(self._queue_watermarks).tick,
                LimitRecorder(self._limits).tick,
                AccountGuard(settings, keys).tick,
                BucketMonitor(Bucket(settings, connections=1)).tick,
                unsaved_results.tick,
                copies.tick,
                calls.tick,
                ArtifactWriter(settings, "results", ended_batches, keep_results_and_reports).tick,
                self._notifier.tick,
                ArtifactWriter(settings, "reports", runs_to_report, keep_report).tick,
                ScheduleRunner(settings).tick,
                change_runner(settings).tick,
                deletion_runner(settings).tick,
                self._auditor.tick,
                Pruner(settings).tick,
            )
        ]

    def stop(self) -> None:
        """Make run() return after the present tick."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Lead, or stand by, until stopped."""
        self._publisher.start()
        self._limits.start()
        self._signals.start()
        with watched(self._loop):
            self._elect_and_lead()
        self._publisher.flush(LAST_MESSAGES_WITHIN_S)
        self._notifier.finish(LAST_WEBHOOKS_WITHIN_S)

    def _elect_and_lead(self) -> None:
        while not self._stopping.is_set():
            self._loop.turn()
            try:
                with self._engine.connect() as connection:
                    self._stand_by(connection)
                    with metrics.IS_LEADER.track_inprogress():
                        self._lead(connection)
                continue
            except Exception as error:
                if is_away(error):
                    log.warning("Postgres is unreachable (%s), trying again", kind_of(error))
                else:
                    log.exception("unexpected error in the dispatcher, trying again")
            self._auditor.reset()
            # The lock is released with the session: a dispatcher that can work may lead.
            self._engine.dispose()
            self._stopping.wait(STANDBY_S)

    def _stand_by(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            self._loop.turn()
            leads = connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            connection.commit()
            if leads:
                log.info("this dispatcher leads")
                return
            self._stopping.wait(STANDBY_S)

    def _lead(self, connection: Connection) -> None:
        for name in self._accounts:
            accounts.ensure(connection, name)
        self._rescuer.reset()
        self._watermarks.reset()
        self._queue_watermarks.reset()
        while not self._stopping.is_set():
            self._loop.turn()
            began = time.monotonic()
            snapshot = self._read_snapshot(connection)
            for duty in self._duties:
                duty.run(connection, snapshot)
            metrics.TICK.observe(time.monotonic() - began)
            tick_s = BUSY_TICK_S if snapshot.ready[Step.CALL] and snapshot.may_call else TICK_S
            self._wait_for_tick(began, tick_s)

    def _wait_for_tick(self, began: float, tick_s: float) -> None:
        """Wait until a tick is due, or a job that somebody waits for was enqueued."""
        if self._woken.wait(max(began + tick_s - time.monotonic(), 0.0)):
            self._stopping.wait(max(self._signalled_at + SIGNALLED_TICK_S - time.monotonic(), 0.0))
            self._signalled_at = time.monotonic()
            self._woken.clear()

    def _read_snapshot(self, connection: Connection) -> QueueSnapshot:
        return read_snapshot(
            connection,
            self._accounts,
            self._settings.day_budget,
            self._watermarks,
            self._queue_watermarks,
            lease=self._lease,
        )


def _reuse_scope(settings: Settings) -> ReuseScope | None:
    return None if settings.reuse is Reuse.OFF else ReuseScope(recipe_of(settings), settings.reuse)


def _limit_poller(settings: Settings, names: list[str]) -> LimitPoller:
    client = redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    limiters = {name: limiter_of(settings, client, name) for name in names}
    return LimitPoller(limiters, Ceilings(settings.calls_per_second, settings.calls_in_flight))
