"""One look for many, and none that is too old."""

import asyncio
import time

from cutout.telemetry.fresh_cache import FreshCache
from tests.support import event_loop


def test_many_who_want_it_anew_share_looks_and_all_get_it() -> None:
    """A hundred at once, each with a moment of its own: none waits for ever for a look that began before."""

    async def run() -> tuple[list[int | None], int]:
        looks = 0

        async def look(_: str) -> int:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0.001)
            return looks

        fresh: FreshCache[str, int] = FreshCache(look)

        async def one(number: int) -> int | None:
            await asyncio.sleep(number * 0.0003)
            return await fresh.get("k", since=time.monotonic())

        return await asyncio.gather(*map(one, range(100))), looks

    values, looks = event_loop.run(run())
    assert all(values)
    assert 1 < looks < 100
