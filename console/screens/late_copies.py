"""Paid results that should be stored by now: most are copied within seconds of their call."""

from cutout.monitoring.overview import Overview

# A copy is tried several times within it.
COPIED_WITHIN_S = 900.0


def late_copies(overview: Overview, lifetime_s: float) -> int:
    """Number of paid results stored nowhere, 0 while the oldest is younger than COPIED_WITHIN_S.

    `lifetime_s` is the setting: the seconds from a call to the expiry of its result.
    """
    left_s = overview.next_expiry_s
    if left_s is None or lifetime_s - left_s < COPIED_WITHIN_S:
        return 0
    return sum(row.at_risk for row in overview.jobs)
