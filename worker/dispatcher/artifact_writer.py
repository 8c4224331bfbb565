"""Duty: write the results of batches, or the reports of runs, into the bucket, outside of the tick."""

import logging
import time
import uuid
from collections.abc import Callable, Collection

from sqlalchemy import Connection, Engine

from cutout.models.database import Database, connect, is_away, kind_of
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from cutout.storage import Bucket, StorageError
from worker.background import BackgroundTask

log = logging.getLogger(__name__)

FIND_EVERY_S = 5.0
# A file that cannot be written does not delay the others.
PAUSE_AFTER_ERROR_S = 60.0

Find = Callable[[Database, Collection[uuid.UUID]], list[uuid.UUID]]
"""Find some batches or runs that have ended and are not written, without those given."""
Write = Callable[[Engine, Bucket, uuid.UUID], bool]
"""Write one of them; false if there is nothing to do any more. Raises StorageError."""


class ArtifactWriter:
    """Finds ended batches or runs every 5 s, in the tick; a thread with its own connection writes them.

    If the process ends half way, the next leader finds them again and writes them again.
    """

    def __init__(self, settings: Settings, noun: str, find: Find, write: Write) -> None:
        """`noun` names the files in log lines."""
        self._noun = noun
        self._find = find
        self._write_one = write
        self._engine = _connect(settings)
        self._bucket = Bucket(settings, connections=1)
        self._find_at = 0.0
        self._ended: list[uuid.UUID] = []
        self._paused_until: dict[uuid.UUID, float] = {}
        self._writing = BackgroundTask(f"the writing of {noun}", self._write)

    def tick(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Find what has ended and begin to write it, unless the bucket is down."""
        now = time.monotonic()
        if now < self._find_at or snapshot.bucket_is_down or self._writing.running:
            return
        self._find_at = now + FIND_EVERY_S
        self._paused_until = {each: until for each, until in self._paused_until.items() if until > now}
        self._ended = self._find(connection, self._paused_until.keys())
        if self._ended:
            self._writing.start()

    def _write(self) -> bool:
        try:
            self._write_all()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable (%s); the %s are written later", kind_of(error), self._noun)
        finally:
            # Seldom needed: no connection is kept open until the next time.
            self._engine.dispose()
        return True

    def _write_all(self) -> None:
        for one in self._ended:
            # Before the write: after an unexpected error it pauses as well.
            self._paused_until[one] = time.monotonic() + PAUSE_AFTER_ERROR_S
            try:
                if self._write_one(self._engine, self._bucket, one):
                    log.info("the %s of %s are in the bucket", self._noun, one)
                del self._paused_until[one]
            except StorageError as error:
                log.warning("the %s of %s are not written: %s", self._noun, one, error)
            except OSError as error:
                # This machine's disk is full: others may need less, and later there may be room.
                log.error("the %s of %s are not written: %s", self._noun, one, error)  # noqa: TRY400


def _connect(settings: Settings) -> Engine:
    return connect(
        settings.database_url.get_secret_value(), connections=1, name="cutout-artifacts", check_first=True
    )
