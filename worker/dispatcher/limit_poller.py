"""Poller of the rate limits, outside of the tick; and the number of jobs that keep them busy."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from cutout.billing.learned_limits import LimitState
from worker.limiter.limiter import Ceilings, Figures, Limiter, LimiterAway

log = logging.getLogger(__name__)

POLL_EVERY_S = 0.25
# Older readings are ignored.
FRESH_FOR_S = 3.0
RATE_OVER_S = 10.0
USUAL_LATENCY_S = 2.0
# Jobs that wait for a slot bridge the time between ticks; each further one delays jobs that come later.
SPARE_JOBS = 2
SPARE_S = 0.2
# With fewer open calls than this share of the limit, jobs do not wait for the limit.
IDLE_BELOW = 0.5
MOST_MORE = 400
# While the endpoint fails for all jobs, only a probe is needed.
JOBS_WITH_CIRCUIT_OPEN = 2
# If no worker calls within this time after a probe was dispatched, another one is.
PROBE_WITHIN_S = 5.0
PROBE_AHEAD_S = 0.5
MOST_OPEN_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class LimitReading:
    """The figures of one account, their time (monotonic, in seconds), and the recent calls per second."""

    at: float
    figures: Figures
    calls_per_second: float

    def state(self) -> LimitState:
        """The state to save: people see it, and it is restored after Redis lost it."""
        figures = self.figures
        return LimitState(
            level=figures.level,
            top=figures.top,
            open_calls=figures.open_calls,
            waiting=figures.waiting,
            calls_per_second=self.calls_per_second,
            latency_seconds=figures.latency_s,
            slow_since=None if figures.slow_ago_s is None else timedelta(seconds=figures.slow_ago_s),
            rests_for=timedelta(seconds=figures.rest_s) if figures.rest_s else None,
            circuit_for=timedelta(seconds=figures.circuit_s) if figures.circuit_s else None,
        )


class LimitPoller:
    """Reads the limits four times a second in its own thread, so a frozen Redis delays nothing else."""

    def __init__(self, limiters: Mapping[str, Limiter], ceilings: Ceilings) -> None:
        self._limiters = limiters
        self._ceiling = ceilings.calls_per_second
        self._first_level = ceilings.first_level
        self._counts: dict[str, deque[tuple[float, int]]] = {name: deque() for name in limiters}
        self._more = 0.0
        self._probed_at = -PROBE_WITHIN_S
        self._open_of_late: deque[tuple[float, int]] = deque()
        self._readings: dict[str, LimitReading] = {}
        self._thread = threading.Thread(target=self._run, name="limit poller", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def readings(self) -> dict[str, LimitReading]:
        """The last reading of each account that is fresh."""
        now = time.monotonic()
        readings = list(self._readings.items())
        return {name: reading for name, reading in readings if now - reading.at < FRESH_FOR_S}

    def target_outstanding(self, accounts: Collection[str]) -> int:
        """Number of jobs that keep these accounts busy: in a call, on their way to one, and a few spare."""
        readings = self.readings()
        return sum(self._target(readings.get(name)) for name in accounts) + int(self._more)

    def grow(self, accounts: Collection[str]) -> None:
        """Grow the target while it is reached and the limits are still idle; shrink it once they are not.

        That happens if jobs need no call, because they reuse a cutout, or take long until their call.
        """
        readings = self.readings()
        idle = all(name in readings and self._is_idle(readings[name].figures) for name in accounts)
        self._more = min(self._more * 1.5 + SPARE_JOBS, MOST_MORE) if idle else self._more / 2

    def waiting(self, accounts: Collection[str]) -> int:
        """Number of calls that wait for a slot of these accounts."""
        readings = self.readings()
        return sum(readings[name].figures.waiting for name in accounts if name in readings)

    def probe_is_due(self, accounts: Collection[str]) -> bool:
        """Whether a call must go out to find out if the endpoint works again; true at most every 5 s.

        Only the limits decide, not the number of outstanding jobs: some may never reach a worker.
        """
        now, readings = time.monotonic(), self.readings()
        due = any(name in readings and _awaits_probe(readings[name].figures) for name in accounts)
        if not due or now - self._probed_at < PROBE_WITHIN_S:
            return False
        self._probed_at = now
        return True

    def most_open(self) -> int:
        """The largest number of calls open at once within the last minute, over all accounts."""
        now = time.monotonic()
        count = sum(reading.figures.open_calls for reading in self.readings().values())
        calls = self._open_of_late
        # An older count that is not larger can never be the maximum again; the first entry is the maximum.
        while calls and calls[-1][1] <= count:
            calls.pop()
        calls.append((now, count))
        while now - calls[0][0] > MOST_OPEN_WITHIN_S:
            calls.popleft()
        return calls[0][1]

    def _is_idle(self, figures: Figures) -> bool:
        if figures.circuit_s or figures.rest_s:
            return False
        latency = figures.latency_s or USUAL_LATENCY_S
        busy = min(figures.level, (self._ceiling or math.inf) * latency)
        return figures.open_calls + figures.waiting < IDLE_BELOW * busy

    def _target(self, reading: LimitReading | None) -> int:
        if reading is None:
            # Before the first call, or while Redis is unreachable.
            return self._busy(self._first_level, USUAL_LATENCY_S, 0.0)
        figures = reading.figures
        if figures.circuit_s or figures.rest_s > 1:
            return JOBS_WITH_CIRCUIT_OPEN
        return self._busy(figures.level, figures.latency_s or USUAL_LATENCY_S, figures.prepare_s)

    def _busy(self, level: float, latency_s: float, prepare_s: float) -> int:
        rate = min(level / latency_s, self._ceiling or math.inf)
        return math.ceil(rate * (latency_s + prepare_s + SPARE_S)) + SPARE_JOBS

    def _run(self) -> None:
        while True:
            for name, limiter in self._limiters.items():
                try:
                    figures = limiter.read()
                except LimiterAway:
                    continue
                except Exception:
                    log.exception("unexpected error in the limit poller")
                    continue
                if figures is not None:
                    now = time.monotonic()
                    self._readings[name] = LimitReading(now, figures, self._rate(name, now, figures.begun))
            time.sleep(POLL_EVERY_S)

    def _rate(self, name: str, now: float, begun: int) -> float:
        counts = self._counts[name]
        if counts and begun < counts[-1][1]:
            counts.clear()  # Redis lost its state and counts anew.
        counts.append((now, begun))
        while now - counts[0][0] > RATE_OVER_S:
            counts.popleft()
        since, before = counts[0]
        return (begun - before) / (now - since) if now > since else 0.0


def _awaits_probe(figures: Figures) -> bool:
    return 0 < figures.circuit_s <= PROBE_AHEAD_S and figures.open_calls + figures.waiting == 0
