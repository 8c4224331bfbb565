"""All screens: each alone, and while viewers walk through them."""

import asyncio
import itertools
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.console.cost import Cost, Meter
from bench.console.filling import Filled
from bench.console.screens import addresses
from bench.console.tab import Page, Tab
from bench.table import say

ALONE = 20
WARM_UP_S = 10
# A viewer reads a page for so long; its part is fetched anew meanwhile.
READS_S = 2.0


@dataclass
class Screen:
    """The answers of one screen to one kind of viewer, and what one of them cost alone."""

    name: str
    viewer: str
    size: int = 0
    cost: Cost = field(default_factory=lambda: Cost(0, 0))
    alone: list[float] = field(default_factory=list)
    walked: list[float] = field(default_factory=list)


Screens = Mapping[tuple[str, str], Screen]


def screens_of(filled: Filled) -> Screens:
    """All screens without measurements."""
    return {
        (viewer, name): Screen(name, viewer)
        for viewer in filled.sessions
        for name in addresses(filled, viewer)
    }


async def each_alone(port: int, filled: Filled, meter: Meter, screens: Screens) -> None:
    """Ask for each screen again and again, each time anew: no answer is shared with one before."""
    numbers = itertools.count()
    for viewer, tokens in filled.sessions.items():
        paths = addresses(filled, viewer)
        async with Tab(port, tokens[0]) as tab:
            for path in paths.values():
                _shown(path, await tab.get(path))
        # Slow answers are begun by the first page that shows them.
        await asyncio.sleep(WARM_UP_S)
        async with Tab(port, tokens[0]) as tab:
            for name, path in paths.items():
                screen, before = screens[viewer, name], meter.read()
                for _ in range(ALONE):
                    address = f"{path}{'&' if '?' in path else '?'}fresh={next(numbers)}"
                    page = _shown(path, await tab.get(address))
                    screen.size = max(screen.size, page.size)
                    screen.alone.append(page.seconds)
                used = meter.read() - before
                screen.cost = Cost(used.api / ALONE, used.postgres / ALONE)
                say(
                    f"console: {viewer} {name} {statistics.median(screen.alone) * 1000:.1f} ms, {screen.cost}"
                )


async def walk(port: int, filled: Filled, screens: Screens, *, viewers: int, seconds: float) -> None:
    """So many viewers walk through all screens, half of each kind, each with a session of its own."""
    ends_at = time.monotonic() + seconds
    walks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        for number in range(viewers):
            viewer = list(filled.sessions)[number % len(filled.sessions)]
            tab = await stack.enter_async_context(Tab(port, filled.sessions[viewer][number]))
            walks.append(asyncio.create_task(_walk(tab, viewer, filled, screens, ends_at)))
        await asyncio.gather(*walks)


async def _walk(tab: Tab, viewer: str, filled: Filled, screens: Screens, ends_at: float) -> None:
    paths = list(addresses(filled, viewer).items())
    await asyncio.sleep(random.uniform(0, READS_S))  # noqa: S311 - no two begin together
    while True:
        random.shuffle(paths)
        for name, path in paths:
            if time.monotonic() >= ends_at:
                return
            screens[viewer, name].walked.append(_shown(path, await tab.get(path)).seconds)
            await asyncio.sleep(READS_S / 2)
            if name != "Add work":
                await tab.get(path, Cutout_Fragment="live")
            await asyncio.sleep(READS_S / 2)


def slowest(screens: Screens) -> dict[str, list[float]]:
    """First bytes of the walks of all screens of a name together."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for screen in screens.values():
        found[screen.name] += screen.walked
    return dict(found)


def _shown(path: str, page: Page) -> Page:
    # A search that finds one thing leads there.
    assert page.status in {200, 303}, (path, page.status, page.body[:300])
    return page
