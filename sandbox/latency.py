"""Latency of calls."""

import asyncio
import math
import random

from sandbox.settings import Settings


class Latency:
    """Log-normal: most calls near the median, a few much slower."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def wait(self, settings: Settings) -> None:
        if settings.latency > 0:
            await asyncio.sleep(settings.latency * math.exp(self._rng.gauss(0, settings.latency_spread)))
