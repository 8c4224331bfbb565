"""The dispatcher's own look at the bucket: the second voice that it is away, and the one that it is back."""

import logging
import time

from sqlalchemy import Connection

from cutout.queue.blocks import storage_breaker
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.queue.dispatch import QueueSnapshot
from cutout.storage import Bucket
from worker.background import BackgroundTask
from worker.storage_probe import bucket_works

log = logging.getLogger(__name__)

# While a worker does not reach the bucket and the dispatcher does.
ASK_EVERY_S = 5.0


class BucketProbe:
    """Asks the bucket from time to time to take a small object, while anybody says that it does not."""

    def __init__(self, bucket: Bucket) -> None:
        self._question = BackgroundTask("the bucket's probe", lambda: bucket_works(bucket))
        self._ask_at = 0.0

    def look(self, connection: Connection, found: QueueSnapshot) -> None:
        """Duty of the tick."""
        if found.away:
            self._close(connection)
        elif found.cut_off:
            self._open(connection)

    def _close(self, connection: Connection) -> None:
        if self._question.take_success():
            storage_breaker.close(connection)
            log.info("the bucket takes cutouts again")
        elif storage_breaker.due_for_probe(connection):
            self._question.start()

    def _open(self, connection: Connection) -> None:
        if self._question.take_failure():
            reason = next((worker.reason for worker in cut_off_workers(connection)), "")
            if reason and storage_breaker.trip(connection, reason):
                log.error("neither a worker nor the dispatcher reaches the bucket, so calls stop: %s", reason)
        elif time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + ASK_EVERY_S
            self._question.start()
