"""One part of the dispatcher's tick, kept from taking the others with it."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection

from cutout.models.database import is_away, kind_of
from cutout.queue.dispatch import Survey

log = logging.getLogger(__name__)

REST_AFTER_ERROR_S = 5.0

Work = Callable[[Connection, Survey], None]


class Part:
    """Runs `work`. After an error it is logged and rests for 5 s, and the other parts go on.

    An error that ended the connection is raised: the leader's lock went with it.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._rests_until = 0.0

    def run(self, connection: Connection, found: Survey) -> None:
        """Do this part of the tick, unless it rests."""
        if time.monotonic() < self._rests_until:
            return
        try:
            self._work(connection, found)
        except Exception as error:
            if connection.invalidated:
                raise
            self._rests_until = time.monotonic() + REST_AFTER_ERROR_S
            if is_away(error):
                log.warning("a part of the tick waits for Postgres (%s)", kind_of(error))
            else:
                log.exception("a part of the tick met an error that nobody expected")
