"""Counts of what arrived and what was refused, for tests of a client's limiter."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ARRIVALS_KEPT = 100_000


@dataclass
class Statistics:
    """Counts since the last clear. Times are seconds of the Unix epoch; the last 100,000 are kept."""

    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=ARRIVALS_KEPT))
    arrived: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def arrival(self) -> Iterator[None]:
        self.arrivals.append(time.time())
        self.arrived += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def since(self, seconds: float) -> list[float]:
        start = time.time() - seconds
        return [at for at in self.arrivals if at >= start]

    def clear(self) -> None:
        """Forget everything but the calls that are in flight now."""
        self.arrivals.clear()
        self.refused.clear()
        self.arrived = 0
        self.max_in_flight = self.in_flight


def busiest_second(arrivals: list[float]) -> int:
    """Give the most arrivals that any window of one second holds; `arrivals` is in order."""
    busiest = start = 0
    for end, at in enumerate(arrivals):
        while at - arrivals[start] >= 1:
            start += 1
        busiest = max(busiest, end - start + 1)
    return busiest
