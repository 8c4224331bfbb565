"""The delay before the next poll."""

import math

SOONEST_S = 1
LATEST_S = 60


def poll_pause(seconds: float | None) -> int:
    """Delay of 1 to 60 whole seconds for what is estimated to take `seconds`; 60 if that is unknown."""
    return LATEST_S if seconds is None else min(max(math.ceil(seconds), SOONEST_S), LATEST_S)
