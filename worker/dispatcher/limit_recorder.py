"""Duty: save the learned rate limits, so that they outlive Redis and people can see them."""

import time

from sqlalchemy import Connection

from cutout.billing import learned_limits
from cutout.queue.snapshot import QueueSnapshot
from worker.dispatcher.limit_poller import LimitPoller

SAVE_EVERY_S = 1.0


class LimitRecorder:
    """Saves the limit of each account once a second."""

    def __init__(self, limits: LimitPoller) -> None:
        self._limits = limits
        self._save_at = 0.0

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Save the limits that were read recently."""
        now = time.monotonic()
        if now >= self._save_at:
            self._save_at = now + SAVE_EVERY_S
            for name, reading in self._limits.readings().items():
                learned_limits.save(connection, name, reading.state())
