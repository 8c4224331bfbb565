"""How the limits stand, looked at beside the dispatcher's tick; and how many jobs they keep busy."""

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

LOOK_EVERY_S = 0.25
# A figure older than this says nothing any more.
FRESH_FOR_S = 3.0
RATE_OVER_S = 10.0
USUAL_LATENCY_S = 2.0
# Jobs that wait for a slot bridge the time between ticks; each more delays whoever comes later.
SPARE_JOBS = 2
SPARE_S = 0.2
# With fewer calls open than this share of what may be, the limit is not what jobs wait for.
IDLE_BELOW = 0.5
MOST_MORE = 400
# Once the endpoint fails for everybody, only a probe is needed.
JOBS_WITH_CIRCUIT_OPEN = 2
# A probe that no worker takes to the endpoint within is followed by another.
PROBE_WITHIN_S = 5.0
PROBE_AHEAD_S = 0.5
MOST_OPEN_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class LimitReading:
    """The figures of one account, when they were taken (monotonic), and calls a second of late."""

    at: float
    figures: Figures
    calls_per_second: float

    def state(self) -> LimitState:
        """The same for people and for the time after Redis lost it."""
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
    """Reads five times a second, in one thread; a frozen Redis holds nothing else up."""

    def __init__(self, limiters: Mapping[str, Limiter], ceilings: Ceilings) -> None:
        self._limiters = limiters
        self._ceiling = ceilings.calls_per_second
        self._first_level = ceilings.first_level
        self._counts: dict[str, deque[tuple[float, int]]] = {name: deque() for name in limiters}
        self._more = 0.0
        self._probed_at = -PROBE_WITHIN_S
        self._open_of_late: deque[tuple[float, int]] = deque()
        self._looks: dict[str, LimitReading] = {}
        self._thread = threading.Thread(target=self._run, name="limit watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def looks(self) -> dict[str, LimitReading]:
        """What was seen of each account within the last seconds."""
        now = time.monotonic()
        return {name: look for name, look in list(self._looks.items()) if now - look.at < FRESH_FOR_S}

    def target_outstanding(self, accounts: Collection[str]) -> int:
        """How many jobs keep these accounts busy: in a call, on their way to one, and a few spare."""
        looks = self.looks()
        return sum(self._window(looks.get(name)) for name in accounts) + int(self._more)

    def grow(self, accounts: Collection[str]) -> None:
        """The target_outstanding is full: grow it while the limits are idle all the same, narrow it once they are not.

        So it is where jobs need no call, being served from what was bought, or take long to get to one.
        """
        looks = self.looks()
        idle = all(name in looks and self._is_idle(looks[name].figures) for name in accounts)
        self._more = min(self._more * 1.5 + SPARE_JOBS, MOST_MORE) if idle else self._more / 2

    def waiting(self, accounts: Collection[str]) -> int:
        """How many calls wait for a slot of these accounts."""
        looks = self.looks()
        return sum(looks[name].figures.waiting for name in accounts if name in looks)

    def probe_is_due(self, accounts: Collection[str]) -> bool:
        """Whether a call must go out to ask if the endpoint does its work again; said once in a while.

        The limits alone say so, not the jobs that are outstanding: some may never reach a worker's hands.
        """
        now, looks = time.monotonic(), self.looks()
        due = any(name in looks and _awaits_probe(looks[name].figures) for name in accounts)
        if not due or now - self._probed_at < PROBE_WITHIN_S:
            return False
        self._probed_at = now
        return True

    def most_open(self) -> int:
        """The most calls that were open at once within the last minute, over all accounts."""
        now = time.monotonic()
        count = sum(look.figures.open_calls for look in self.looks().values())
        calls = self._open_of_late
        # Whatever is older and no more can never be the most again: the first one is the most.
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

    def _window(self, look: LimitReading | None) -> int:
        if look is None:
            # Before the first call, or while Redis is away.
            return self._busy(self._first_level, USUAL_LATENCY_S, 0.0)
        figures = look.figures
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
                    log.exception("the watch over the limits met an error that nobody expected")
                    continue
                if figures is not None:
                    now = time.monotonic()
                    self._looks[name] = LimitReading(now, figures, self._rate(name, now, figures.begun))
            time.sleep(LOOK_EVERY_S)

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
