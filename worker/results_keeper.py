"""Writes the results of batches that ended into the bucket, beside the dispatcher's tick."""

import logging
import time
import uuid

from sqlalchemy import Connection, Engine

from jobs.database import connect
from jobs.line import Survey
from jobs.results_manifest import ended_batches, keep_results
from jobs.settings import Settings
from jobs.storage import Bucket, StorageError
from worker.background import Question

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
# A batch that cannot be written does not keep the others waiting.
REST_AFTER_ERROR_S = 60.0


class ResultsKeeper:
    """Looks every 5 s, in the tick, for batches that ended; a thread with connections of its own writes them.

    Should the process end half way, the next leader finds the same batches and writes them again.
    """

    def __init__(self, known: Settings) -> None:
        self._engine = _connect(known)
        self._bucket = Bucket(known, connections=1)
        self._look_at = 0.0
        self._ended: list[uuid.UUID] = []
        self._rests_until: dict[uuid.UUID, float] = {}
        self._writing = Question("the writing of results", self._write)

    def look(self, connection: Connection, found: Survey) -> None:
        """Find ended batches and begin to write their results, unless the bucket is away."""
        now = time.monotonic()
        if now < self._look_at or found.away or self._writing.awaited:
            return
        self._look_at = now + LOOK_EVERY_S
        self._rests_until = {batch: until for batch, until in self._rests_until.items() if until > now}
        self._ended = ended_batches(connection, self._rests_until.keys())
        if self._ended:
            self._writing.ask()

    def _write(self) -> bool:
        try:
            self._write_all()
        finally:
            # Batches end seldom: no connection is kept until the next one does.
            self._engine.dispose()
        return True

    def _write_all(self) -> None:
        for batch_id in self._ended:
            # Should it fail in a way that nobody expected, it rests as well.
            self._rests_until[batch_id] = time.monotonic() + REST_AFTER_ERROR_S
            try:
                if keep_results(self._engine, self._bucket, batch_id):
                    log.info("the results of the batch %s are in the bucket", batch_id)
                del self._rests_until[batch_id]
            except StorageError as error:
                log.warning("the results of the batch %s are not written: %s", batch_id, error)


def _connect(known: Settings) -> Engine:
    return connect(
        known.database_url.get_secret_value(), connections=1, name="cutout-results", check_first=True
    )
