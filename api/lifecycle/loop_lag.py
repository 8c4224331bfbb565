"""Lag of the event loop: while something holds it, every request of the process waits."""

import asyncio
import time
from collections import deque
from contextlib import suppress

from api import metrics
from cutout.telemetry.loops import WatchedLoop, watched

LOOK_EVERY_S = 0.25
OVER_S = 60.0
NAME = "event loop"
# While something holds it longer, no request is answered.
TURN_WITHIN_S = 30.0


async def watch_loop() -> None:
    """Measure until cancelled. The metric is the longest lag within the last minute."""
    lags: deque[float] = deque(maxlen=round(OVER_S / LOOK_EVERY_S))
    # A cancellation is an ordered end: the loop is not late.
    with watched(WatchedLoop(NAME, TURN_WITHIN_S)) as loop, suppress(asyncio.CancelledError):
        await _measure(lags, loop)


async def _measure(lags: deque[float], loop: WatchedLoop) -> None:
    while True:
        loop.turn()
        due_at = time.monotonic() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        lags.append(max(time.monotonic() - due_at, 0.0))
        metrics.LOOP_LAG.set(max(lags))
