"""Whether a worker lives that takes what is handed out: without one, messages would pile up in Redis."""

import logging
import time
from datetime import timedelta

from sqlalchemy import Connection

from cutout.queue import workers

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Takers:
    """Looks into Postgres when it is asked: every second while a worker lives, each time while none does."""

    def __init__(self, silence_s: float) -> None:
        self._silence = timedelta(seconds=silence_s)
        self._live = True
        self._look_at = 0.0
        self.call_threads = workers.USUAL_THREADS
        """Jobs at the step `call` that all of them carry at once, when last looked at."""

    def live(self, connection: Connection) -> bool:
        """Whether any worker was heard within its silence."""
        now = time.monotonic()
        if self._live and now < self._look_at:
            return True
        self._look_at = now + LOOK_EVERY_S
        threads = workers.call_threads(connection, within=self._silence)
        live = threads is not None
        self.call_threads = threads or 0
        if live != self._live:
            log.warning("a worker lives again" if live else "no worker lives: nothing is handed out")
        self._live = live
        return live
