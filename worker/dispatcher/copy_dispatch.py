"""Duty: dispatch copies of paid results."""

from datetime import timedelta

from sqlalchemy import Connection

from cutout.enums import Step
from cutout.queue.dispatch import dispatch_copies
from cutout.queue.snapshot import QueueSnapshot
from worker.dispatcher.live_workers import LiveWorkers
from worker.dispatcher.publisher import Publisher
from worker.task_kinds import TaskKind

MOST_COPIES_OUTSTANDING = 200


class CopyDispatch:
    """Keeps up to MOST_COPIES_OUTSTANDING copies outstanding, those first whose results expire first."""

    def __init__(
        self, publisher: Publisher, workers: LiveWorkers, *, lease: timedelta, lifeboat_within: timedelta
    ) -> None:
        self._publisher = publisher
        self._workers = workers
        self._lease = lease
        self._lifeboat_within = lifeboat_within

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Dispatch copies. While the bucket is down, only results that must be saved in the lifeboat."""
        room = MOST_COPIES_OUTSTANDING - snapshot.outstanding[Step.COPY]
        if not (snapshot.ready[Step.COPY] and room > 0 and self._publisher.idle(TaskKind.COPY)):
            return
        if self._workers.live(connection):
            within = self._lifeboat_within if snapshot.bucket_is_down else None
            copies = dispatch_copies(connection, room, lease=self._lease, expiring_within=within)
            self._publisher.send(TaskKind.COPY, copies)
