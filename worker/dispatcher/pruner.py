"""Forgets, a little at a time in the dispatcher's tick, what nobody will ask for any more."""

import time

from sqlalchemy import Connection

from cutout.producers.idempotency import MOST_PRUNED, prune_answers
from cutout.queue.dispatch import Survey

PRUNE_EVERY_S = 60.0


class Pruning:
    """Once a minute, and in every tick while there is more than one portion."""

    def __init__(self) -> None:
        self._look_at = 0.0

    def look(self, connection: Connection, _found: Survey) -> None:
        """Forget answers kept for idempotency keys that are older than a day."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + PRUNE_EVERY_S
            if prune_answers(connection) == MOST_PRUNED:
                self._look_at = now
