"""Duties: make jobs ready again that are due, that are no longer blocked, or whose buyer is done."""

from sqlalchemy import Connection

from cutout.queue.blocks.blocked_jobs import Unblocker
from cutout.queue.promote import promote_due
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.waiting_jobs import WaitingJobsPromoter
from cutout.queue.snapshot import QueueSnapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks


class DuePromoter:
    """Promotes jobs whose delay is over or whose message was not claimed in time."""

    def __init__(self, watermarks: SnapshotWatermarks, queue_watermarks: QueueWatermarks) -> None:
        self._watermarks = watermarks
        self._queue_watermarks = queue_watermarks

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Promote due jobs, if there are any."""
        if snapshot.due:
            promote_due(connection, self._watermarks, self._queue_watermarks)


class BlockedPromoter:
    """Unblocks jobs whose batch allows it, some batches in each tick."""

    def __init__(self, queue_watermarks: QueueWatermarks) -> None:
        self._queue_watermarks = queue_watermarks
        self._unblocker = Unblocker()

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Unblock jobs, if any are blocked."""
        if snapshot.blocked:
            self._unblocker.unblock(connection, self._queue_watermarks)


class WaitingPromoter:
    """Promotes jobs whose buyer of the same picture is done, some buyers in each tick."""

    def __init__(self, queue_watermarks: QueueWatermarks) -> None:
        self._queue_watermarks = queue_watermarks
        self._promoter = WaitingJobsPromoter()

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Promote waiting jobs, if there are any."""
        if snapshot.waiting:
            self._promoter.promote(connection, self._queue_watermarks)
