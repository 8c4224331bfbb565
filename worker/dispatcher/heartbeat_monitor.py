"""Monitor of heartbeats: a worker is dead once its heartbeat has not changed for a while."""

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime


class HeartbeatMonitor:
    """Watches whether heartbeats change, and ignores the times written in them.

    So a worker is not declared dead by a changed clock, or by a time without Postgres in which no heartbeat
    could be written. `silence_s` is the time in seconds without a change after which a worker is dead.
    """

    def __init__(self, silence_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._silence_s = silence_s
        self._clock = clock
        self._checked_at = clock()
        self._seen: dict[uuid.UUID, tuple[datetime | None, float]] = {}

    def dead(self, heartbeats: Mapping[uuid.UUID, datetime | None]) -> list[uuid.UUID]:
        """Select the dead among the workers that hold jobs; `heartbeats` are their last ones.

        None instead of a heartbeat means that the worker has left. After a pause of more than half of
        `silence_s` between two calls, all workers are watched anew.
        """
        now = self._clock()
        if now - self._checked_at > self._silence_s / 2:
            self._seen.clear()
        self._checked_at = now
        self._seen = {worker: self._since(worker, beat, now) for worker, beat in heartbeats.items()}
        return [
            worker
            for worker, (beat, since) in self._seen.items()
            if beat is None or now - since >= self._silence_s
        ]

    def _since(self, worker: uuid.UUID, beat: datetime | None, now: float) -> tuple[datetime | None, float]:
        last = self._seen.get(worker)
        return last if last and last[0] == beat else (beat, now)
