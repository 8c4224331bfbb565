"""Backoff: the delay after a failed try, and the number of tries that a step has."""

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
        """Seconds before the next try: between half and one and a half times the doubled delay."""
        doubled = min(self.first_seconds * 2.0 ** min(tries_used - 1, 20), self.longest_seconds)
        return doubled * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, not a secret


BACKOFF = {
    Step.CALL: Backoff(tries=6, first_seconds=2.0, longest_seconds=300.0),
    # A copy is tried until the result expires: the call behind it is paid.
    Step.COPY: Backoff(tries=None, first_seconds=1.0, longest_seconds=300.0),
}
