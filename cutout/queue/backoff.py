"""How long a job rests after a try that went wrong, and how many tries a step has."""

import random
from dataclasses import dataclass

from cutout.enums import Step


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays in seconds, spread by jitter. `tries` None: bounded by the result's expiry instead."""

    tries: int | None
    first_seconds: float
    longest_seconds: float

    def delay(self, tries_used: int) -> float:
        """The rest before the next try, between half and one and a half times the doubled delay."""
        doubled = min(self.first_seconds * 2.0 ** min(tries_used - 1, 20), self.longest_seconds)
        return doubled * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing


BACKOFF = {
    Step.CALL: Backoff(tries=6, first_seconds=2.0, longest_seconds=300.0),
    # A copy is worth trying until the result is gone: the call behind it is paid.
    Step.COPY: Backoff(tries=None, first_seconds=1.0, longest_seconds=300.0),
}
