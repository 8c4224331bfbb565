"""Writes the results of batches and the reports of runs into the bucket, beside the dispatcher's tick."""

import logging
import time
import uuid
from collections.abc import Callable, Collection

from sqlalchemy import Connection, Engine

from cutout.models.database import Database, connect, is_away, kind_of
from cutout.queue.dispatch import Survey
from cutout.settings import Settings
from cutout.storage import Bucket, StorageError
from worker.background import Question

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
# What cannot be written does not keep the others waiting.
REST_AFTER_ERROR_S = 60.0

Find = Callable[[Database, Collection[uuid.UUID]], list[uuid.UUID]]
"""Some of what has ended and is not written, without those that rest."""
Keep = Callable[[Engine, Bucket, uuid.UUID], bool]
"""Write it; false if there is nothing to do any more. Raises StorageError."""


class Keeper:
    """Looks every 5 s, in the tick, for what has ended; a thread with connections of its own writes it.

    Should the process end half way, the next leader finds the same and writes it again.
    """

    def __init__(self, known: Settings, what: str, find: Find, keep: Keep) -> None:
        """`what` names what is written, for people."""
        self._what = what
        self._find = find
        self._keep = keep
        self._engine = _connect(known)
        self._bucket = Bucket(known, connections=1)
        self._look_at = 0.0
        self._ended: list[uuid.UUID] = []
        self._rests_until: dict[uuid.UUID, float] = {}
        self._writing = Question(f"the writing of {what}", self._write)

    def look(self, connection: Connection, found: Survey) -> None:
        """Find what has ended and begin to write it, unless the bucket is away."""
        now = time.monotonic()
        if now < self._look_at or found.away or self._writing.awaited:
            return
        self._look_at = now + LOOK_EVERY_S
        self._rests_until = {one: until for one, until in self._rests_until.items() if until > now}
        self._ended = self._find(connection, self._rests_until.keys())
        if self._ended:
            self._writing.ask()

    def _write(self) -> bool:
        try:
            self._write_all()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is away (%s); the %s are written later", kind_of(error), self._what)
        finally:
            # That happens seldom: no connection is kept until the next one ends.
            self._engine.dispose()
        return True

    def _write_all(self) -> None:
        for one in self._ended:
            # Should it fail in a way that nobody expected, it rests as well.
            self._rests_until[one] = time.monotonic() + REST_AFTER_ERROR_S
            try:
                if self._keep(self._engine, self._bucket, one):
                    log.info("the %s of %s are in the bucket", self._what, one)
                del self._rests_until[one]
            except StorageError as error:
                log.warning("the %s of %s are not written: %s", self._what, one, error)
            except OSError as error:
                # A full disk of this machine: others need less of it, and later there may be room.
                log.error("the %s of %s are not written: %s", self._what, one, error)  # noqa: TRY400


def _connect(known: Settings) -> Engine:
    return connect(
        known.database_url.get_secret_value(), connections=1, name="cutout-keeper", check_first=True
    )
