"""Open tabs: hidden ones, which keep nothing open, and visible ones, each with its event stream."""

import asyncio
import itertools
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from bench.console.cost import Cost, Meter
from bench.console.filling import Filled
from bench.console.screens import addresses
from bench.console.tab import Tab
from console.live import MOST_STREAMS
from cutout.queue.signals import Signal, SignalSender

HIDDEN, AT_ONCE = 1000, 20
SIGNALS_A_SECOND = 4
SETTLES_S = 6
# Screens of which no part changes by itself.
STILL = frozenset({"Add work", "Search, a SKU", "Search, nothing found"})
SECONDS = 20


@dataclass(frozen=True)
class Watched:
    """Cost of watching, and events a second of one tab."""

    cost: Cost
    events: float


async def hide(port: int, filled: Filled) -> None:
    """Open so many tabs with their streams, and hide each."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(token: str) -> None:
        async with turns, Tab(port, token) as tab:
            assert (await tab.get("/console/batches")).status == 200
            assert await tab.open_stream("/console/batches") == 200
            await tab.event()

    tokens = itertools.cycle([token for tokens in filled.sessions.values() for token in tokens])
    await asyncio.gather(*(one(token) for token in itertools.islice(tokens, HIDDEN)))


async def idle(meter: Meter) -> Cost:
    """CPU a second of all that is open."""
    await asyncio.sleep(SETTLES_S)
    before, began_at = meter.read(), time.monotonic()
    await asyncio.sleep(SECONDS)
    used, seconds = meter.read() - before, time.monotonic() - began_at
    return Cost(used.api / seconds, used.postgres / seconds)


async def watch(
    port: int, filled: Filled, meter: Meter, signals: SignalSender | None, *, only: str | None = None
) -> Watched:
    """CPU with MOST_STREAMS visible tabs on all screens that have a stream, or all on one."""
    tasks, events = [], Counter[str]()
    async with AsyncExitStack() as stack:
        for viewer, tokens in filled.sessions.items():
            shown = {name: path for name, path in addresses(filled, viewer).items() if name not in STILL}
            paths = itertools.cycle([shown[only]] if only else shown.values())
            for token, path in zip(tokens, paths, strict=False):
                tab = await stack.enter_async_context(Tab(port, token))
                assert await tab.open_stream(path) == 200, path
                tasks.append(asyncio.create_task(_listen(tab, events)))
        assert len(tasks) == MOST_STREAMS
        tasks += [asyncio.create_task(_send(signals))] if signals else []
        await asyncio.sleep(SETTLES_S)
        events.clear()
        cost = await idle(meter)
        for task in tasks:
            assert not task.done(), task
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return Watched(cost, events.total() / MOST_STREAMS / (SETTLES_S + SECONDS))


async def _listen(tab: Tab, events: Counter[str]) -> None:
    while event := await tab.event():
        assert event.startswith(b"event: part"), event[:300]
        events["whole" if b'"html"' in event else "same"] += 1


async def _send(signals: SignalSender) -> None:
    while True:
        signals.send(Signal.ENDED)
        await asyncio.sleep(1 / SIGNALS_A_SECOND)
