"""One duty of the dispatcher's tick, isolated from the errors of the others."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection

from cutout.models.database import is_away, kind_of
from cutout.queue.snapshot import QueueSnapshot

log = logging.getLogger(__name__)

PAUSE_AFTER_ERROR_S = 5.0

Tick = Callable[[Connection, QueueSnapshot], None]


class Duty:
    """Runs a `tick`. After an error, which is logged, it pauses for 5 s while the other duties continue.

    An error that ended the connection is raised: the leader's lock was lost with it.
    """

    def __init__(self, tick: Tick) -> None:
        self._tick = tick
        self._pauses_until = 0.0

    def run(self, connection: Connection, snapshot: QueueSnapshot) -> None:
        """Run the tick, unless the duty pauses."""
        if time.monotonic() < self._pauses_until:
            return
        try:
            self._tick(connection, snapshot)
        except Exception as error:
            if connection.invalidated:
                raise
            self._pauses_until = time.monotonic() + PAUSE_AFTER_ERROR_S
            if is_away(error):
                log.warning("a duty of the dispatcher waits for Postgres (%s)", kind_of(error))
            else:
                log.exception("unexpected error in a duty of the dispatcher")
