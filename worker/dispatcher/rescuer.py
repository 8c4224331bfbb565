"""Duty: rescue the jobs of dead workers."""

import logging
import time

from sqlalchemy import Connection

from cutout.queue import workers
from cutout.queue.settle import RetryLimits
from cutout.queue.snapshot import QueueSnapshot
from worker.dispatcher import metrics
from worker.dispatcher.heartbeat_monitor import HeartbeatMonitor

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.8


class Rescuer:
    """Checks the heartbeats every 0.8 s, and again in the next tick while more jobs are left to rescue."""

    def __init__(self, silence_s: float, bounds: RetryLimits) -> None:
        self._silence_s = silence_s
        self._bounds = bounds
        self._check_at = 0.0
        self._monitor = HeartbeatMonitor(silence_s)

    def reset(self) -> None:
        """Watch all heartbeats anew: another dispatcher led meanwhile."""
        self._monitor = HeartbeatMonitor(self._silence_s)

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Rescue the jobs of workers whose heartbeat has stopped."""
        now = time.monotonic()
        if now < self._check_at:
            return
        self._check_at = now + CHECK_EVERY_S
        dead = self._monitor.dead(workers.heartbeats(connection))
        if dead:
            rescued = workers.rescue(connection, dead, self._bounds)
            metrics.RESCUED.inc(rescued)
            log.warning("rescued %d jobs of %d dead workers", rescued, len(dead))
            if rescued >= workers.MOST_RESCUED:
                self._check_at = now
