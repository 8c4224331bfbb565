"""Duty: probe the bucket while its breaker is open or a worker cannot reach it."""

import logging
import time

from sqlalchemy import Connection

from cutout.queue.blocks import storage_breaker
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.queue.snapshot import QueueSnapshot
from cutout.storage import Bucket
from worker.background import BackgroundTask
from worker.storage_probe import bucket_works

log = logging.getLogger(__name__)

# While a worker cannot reach the bucket and the dispatcher can.
PROBE_EVERY_S = 5.0


class BucketMonitor:
    """Stores and deletes a small object in a background task; opens or closes the breaker on the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._probe = BackgroundTask("the bucket's probe", lambda: bucket_works(bucket))
        self._probe_at = 0.0

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Take a finished probe, and start one if it is due."""
        if snapshot.bucket_is_down:
            self._close(connection)
        elif snapshot.cut_off:
            self._open(connection)

    def _close(self, connection: Connection) -> None:
        if self._probe.take_success():
            storage_breaker.close(connection)
            log.info("the bucket takes cutouts again")
        elif storage_breaker.due_for_probe(connection):
            self._probe.start()

    def _open(self, connection: Connection) -> None:
        if self._probe.take_failure():
            reason = next((worker.reason for worker in cut_off_workers(connection)), "")
            if reason and storage_breaker.trip(connection, reason):
                log.error("neither a worker nor the dispatcher reaches the bucket, so calls stop: %s", reason)
        elif time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + PROBE_EVERY_S
            self._probe.start()
