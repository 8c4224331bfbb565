"""Paid results that should be stored by now: most are copied within seconds of their call."""

from dataclasses import dataclass

from cutout.monitoring.overview import Overview

# A copy is tried several times within it.
COPIED_WITHIN_S = 900.0
# Of several: one alone is tried again after a pause of minutes.
SLOW_AFTER_S, SLOW_FROM = 10.0, 3


@dataclass(frozen=True, slots=True)
class UnsavedResults:
    """Number of paid results that are stored nowhere, and the seconds since the oldest one's call."""

    count: int
    age_s: float

    @property
    def late(self) -> int:
        """Their number, 0 while the oldest is younger than COPIED_WITHIN_S."""
        return self.count if self.age_s >= COPIED_WITHIN_S else 0

    @property
    def are_slow(self) -> bool:
        """Whether several wait, and are not late: a bucket that hangs shows so before a request has ended."""
        return self.count >= SLOW_FROM and SLOW_AFTER_S <= self.age_s < COPIED_WITHIN_S


def unsaved_results(overview: Overview, lifetime_s: float) -> UnsavedResults:
    """The paid results of an overview that are stored nowhere.

    `lifetime_s` is the setting: the seconds from a call to the expiry of its result.
    """
    left_s = overview.next_expiry_s
    return UnsavedResults(overview.at_risk, 0.0 if left_s is None else lifetime_s - left_s)
