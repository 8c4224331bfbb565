"""Paid results that should be stored by now: most are copied within seconds of their call."""

from cutout.monitoring.overview import Overview

# A copy is tried several times within it.
COPIED_WITHIN_S = 900.0
# Of several: one alone is tried again after a pause of minutes.
SLOW_AFTER_S, SLOW_FROM = 10.0, 3


def late_copies(overview: Overview, lifetime_s: float) -> int:
    """Number of paid results stored nowhere, 0 while the oldest is younger than COPIED_WITHIN_S.

    `lifetime_s` is the setting: the seconds from a call to the expiry of its result.
    """
    left_s = overview.next_expiry_s
    if left_s is None or lifetime_s - left_s < COPIED_WITHIN_S:
        return 0
    return sum(row.at_risk for row in overview.jobs)


def slow_copies(overview: Overview, lifetime_s: float) -> tuple[int, float] | None:
    """Number of paid results that wait for their copy, and the seconds since the oldest one's call.

    None if they are few, young or late. A bucket that hangs shows here before any request to it has ended.
    """
    count = sum(row.at_risk for row in overview.jobs)
    if overview.next_expiry_s is None or count < SLOW_FROM:
        return None
    age_s = lifetime_s - overview.next_expiry_s
    return (count, age_s) if SLOW_AFTER_S <= age_s < COPIED_WITHIN_S else None
