"""One look for many, and none that is too old."""

import asyncio
import time

from cutout.telemetry.fresh_cache import GOOD_FOR_S, FreshCache
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


def test_with_slack_the_last_value_is_given_out_while_the_next_is_looked_up() -> None:
    """Nobody waits for it; the value after it is the new one."""

    async def run() -> list[int | None]:
        looks = iter((1, 2))
        looked = asyncio.Event()

        async def look(_: str) -> int:
            number = next(looks)
            if number > 1:
                await looked.wait()
            return number

        fresh: FreshCache[str, int] = FreshCache(look, slack_s=10.0)
        values = [await fresh.get("k")]
        await asyncio.sleep(GOOD_FOR_S + 0.01)
        values.append(await fresh.get("k"))
        looked.set()
        await asyncio.sleep(0.01)
        return [*values, await fresh.get("k")]

    assert event_loop.run(run()) == [1, 1, 2]


def test_no_more_are_kept_than_may_be() -> None:
    """The oldest go first."""

    async def run() -> list[bool]:
        async def look(key: int) -> int:
            return key + 1

        fresh: FreshCache[int, int] = FreshCache(look, most_kept=3)
        for key in range(5):
            await fresh.get(key)
        return [fresh.remembers(key) for key in range(5)]

    assert event_loop.run(run()) == [False, False, True, True, True]
