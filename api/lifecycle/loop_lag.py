"""Lag of the event loop: while something holds it, every request of the process waits."""

import asyncio
import time
from collections import deque

from api import metrics

LOOK_EVERY_S = 0.25
OVER_S = 60.0


async def watch_loop() -> None:
    """Measure until cancelled. The metric is the longest lag within the last minute."""
    lags: deque[float] = deque(maxlen=round(OVER_S / LOOK_EVERY_S))
    while True:
        due_at = time.monotonic() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        lags.append(max(time.monotonic() - due_at, 0.0))
        metrics.LOOP_LAG.set(max(lags))
