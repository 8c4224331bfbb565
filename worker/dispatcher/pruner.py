"""Duty: delete stored answers to idempotency keys that are too old."""

import time

from sqlalchemy import Connection

from cutout.producers.idempotency import MOST_PRUNED, prune_answers
from cutout.queue.snapshot import QueueSnapshot

PRUNE_EVERY_S = 60.0


class Pruner:
    """Prunes once a minute, and in every tick while there is more than one portion."""

    def __init__(self) -> None:
        self._prune_at = 0.0

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Delete a portion of the answers that are older than a day."""
        now = time.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY_S
            if prune_answers(connection) == MOST_PRUNED:
                self._prune_at = now
