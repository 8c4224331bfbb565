"""Whether a worker lives that takes messages: without one they would pile up in Redis."""

import logging
import time
from datetime import timedelta

from sqlalchemy import Connection

from cutout.queue import workers

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0


class LiveWorkers:
    """Reads Postgres when asked: at most once a second while a worker lives, each time while none does."""

    def __init__(self, silence_s: float) -> None:
        self._silence = timedelta(seconds=silence_s)
        self._live = True
        self._check_at = 0.0
        self.call_threads = workers.USUAL_THREADS
        """Threads for the step `call` of all workers, at the last check."""

    def live(self, connection: Connection) -> bool:
        """Whether any worker was heard within `silence_s`."""
        now = time.monotonic()
        if self._live and now < self._check_at:
            return True
        self._check_at = now + CHECK_EVERY_S
        threads = workers.call_threads(connection, within=self._silence)
        live = threads is not None
        self.call_threads = threads or 0
        if live != self._live:
            log.warning("a worker lives again" if live else "no worker lives: nothing is dispatched")
        self._live = live
        return live
