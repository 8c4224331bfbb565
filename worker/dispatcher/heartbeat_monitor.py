"""Who is gone: a worker whose heartbeat stood still for as long as we watched it."""

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime


class HeartWatch:
    """Judges by what changes before our eyes, not by the time written in a heartbeat.

    So neither a clock that was set nor a while without Postgres, in which no heart could beat, makes the
    living look dead. `silence_s` is how long, in seconds, a heart must stand still.
    """

    def __init__(self, silence_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._silence_s = silence_s
        self._clock = clock
        self._looked_at = clock()
        self._seen: dict[uuid.UUID, tuple[datetime | None, float]] = {}

    def gone(self, heartbeats: Mapping[uuid.UUID, datetime | None]) -> list[uuid.UUID]:
        """Of the workers that hold jobs, with their last heartbeats, those that are gone.

        A heartbeat of None says so itself. Call it often: a pause in the watch begins it anew.
        """
        now = self._clock()
        if now - self._looked_at > self._silence_s / 2:
            self._seen.clear()
        self._looked_at = now
        self._seen = {worker: self._since(worker, beat, now) for worker, beat in heartbeats.items()}
        return [
            worker
            for worker, (beat, since) in self._seen.items()
            if beat is None or now - since >= self._silence_s
        ]

    def _since(self, worker: uuid.UUID, beat: datetime | None, now: float) -> tuple[datetime | None, float]:
        last = self._seen.get(worker)
        return last if last and last[0] == beat else (beat, now)
