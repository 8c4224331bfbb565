"""Duty: dispatch jobs for paid calls, and jobs that reuse a cutout bought before."""

from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from cutout.enums import Step, Stop
from cutout.queue.blocks import storage_breaker
from cutout.queue.blocks.download_limit import (
    Downloads,
    SourceLimitPromoter,
    count_downloads,
    starting_with,
)
from cutout.queue.dispatch import dispatch, dispatch_calls
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.serve_reused import ReuseScope
from cutout.queue.snapshot import QueueSnapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks
from worker.dispatcher import metrics
from worker.dispatcher.limit_poller import LimitPoller
from worker.dispatcher.live_workers import LiveWorkers
from worker.dispatcher.publisher import Publisher
from worker.dispatcher.unsaved_results_monitor import UnsavedResultsMonitor
from worker.task_kinds import TaskKind

# Jobs that are sent out to be served at a time, and those that one tick adds, 40 µs each.
MOST_REUSING = 2_000
MOST_REUSING_A_TICK = 1_000


class CallDispatch:
    """Keeps as many calls outstanding as the rate limits can use."""

    def __init__(
        self,
        publisher: Publisher,
        workers: LiveWorkers,
        limits: LimitPoller,
        unsaved_results: UnsavedResultsMonitor,
        *,
        watermarks: SnapshotWatermarks,
        queue_watermarks: QueueWatermarks,
        lease: timedelta,
        reuse_scope: ReuseScope | None,
    ) -> None:
        self._publisher = publisher
        self._workers = workers
        self._limits = limits
        self._unsaved_results = unsaved_results
        self._watermarks = watermarks
        self._queue_watermarks = queue_watermarks
        self._lease = lease
        self._reuse_scope = reuse_scope
        self._source_limit_promoter = SourceLimitPromoter()

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Dispatch jobs, unless calls are stopped or all messages of the last dispatch are not sent yet."""
        idle = self._publisher.idle(TaskKind.CALL) and self._publisher.idle(TaskKind.SERVE)
        has_jobs = snapshot.ready[Step.CALL] or snapshot.limited
        if not (has_jobs and snapshot.may_probe and idle and self._workers.live(connection)):
            return
        if snapshot.stops:
            if snapshot.stops == {Stop.RESULTS} and self._unsaved_results.one_may_call:
                self._let_one_call(connection, snapshot)
            return
        target = self._limits.target_outstanding(snapshot.open_accounts)
        metrics.TARGET_OUTSTANDING.set(target)
        count = partial(self._count_downloads, connection)
        room, downloads = target - snapshot.outstanding[Step.CALL], None
        if room > 0 or snapshot.long_outstanding:
            downloads = count()
            # Jobs that wait for a slow source do not use the room. Jobs that wait for a slot look the same.
            room += max(downloads.slow - self._limits.waiting(snapshot.open_accounts), 0)
        if room <= 0 and self._limits.probe_is_due(snapshot.open_accounts):
            room = 1
        if room <= 0:
            self._limits.grow(snapshot.open_accounts)
            return
        downloads = downloads or count()
        if snapshot.limited:
            self._source_limit_promoter.promote(connection, downloads, self._queue_watermarks)
        dispatched = dispatch(
            connection,
            room,
            lease=self._lease,
            reuse_scope=self._reuse_scope,
            reuse_room=min(MOST_REUSING - snapshot.reusing, MOST_REUSING_A_TICK),
            downloads=starting_with(downloads, count),
            watermarks=self._queue_watermarks,
        )
        self._publisher.send(TaskKind.CALL, dispatched.calls)
        self._publisher.send(TaskKind.SERVE, dispatched.reused)

    def _count_downloads(self, connection: Connection) -> Downloads:
        threads = self._workers.call_threads
        return count_downloads(connection, threads, lease=self._lease, since=self._watermarks.outstanding)

    def _let_one_call(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Let one job buy a result as a probe: results cannot be fetched, and there is none left to try."""
        self._unsaved_results.one_may_call = False
        if snapshot.limited:
            # There may be no other ready job, and nothing else promotes these while calls stop.
            downloads = self._count_downloads(connection)
            self._source_limit_promoter.promote(connection, downloads, self._queue_watermarks)
        calls = dispatch_calls(connection, 1, lease=self._lease)
        for job_id, _ in calls:
            storage_breaker.let_one_call(connection, job_id)
        self._publisher.send(TaskKind.CALL, calls)
