"""Open tabs: hidden ones, which keep nothing open, and visible ones, each with its event stream."""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, suppress

from bench.console.cost import Cost, Meter
from bench.console.filling import Filled
from bench.console.screens import addresses
from bench.console.tab import Tab
from console.live import MOST_STREAMS
from cutout.queue.signals import Signal, SignalSender

HIDDEN, AT_ONCE = 1000, 20
SHORTEST_REST_S = 1.0
SIGNALS_A_SECOND = 4
SETTLES_S = 6
SECONDS = 20


async def hide(port: int, filled: Filled) -> None:
    """Open so many tabs with their streams, and hide each."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(token: str) -> None:
        async with turns, Tab(port, token) as tab:
            assert (await tab.get("/console/batches")).status == 200
            assert await tab.open_stream() == 200
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
    port: int, filled: Filled, meter: Meter, signals: SignalSender | None, *, fetch: bool
) -> Cost:
    """CPU with MOST_STREAMS visible tabs on all screens; with `fetch` each gets its part at each signal."""
    watched = []
    async with AsyncExitStack() as stack:
        for viewer, tokens in filled.sessions.items():
            paths = itertools.cycle(addresses(filled, viewer).values())
            for token, path in zip(tokens, paths, strict=False):
                stream = await stack.enter_async_context(Tab(port, token))
                assert await stream.open_stream() == 200
                pages = await stack.enter_async_context(Tab(port, token)) if fetch else None
                watched.append(asyncio.create_task(_watch(stream, pages, path)))
        assert len(watched) == MOST_STREAMS
        sender = asyncio.create_task(_send(signals)) if signals else None
        cost = await idle(meter)
        for task in (*watched, *([sender] if sender else ())):
            assert not task.done(), task
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return cost


async def _watch(stream: Tab, pages: Tab | None, path: str) -> None:
    tag, fetched_at = "", 0.0
    changed = asyncio.Event()

    async def listen() -> None:
        while await stream.event():
            changed.set()

    listening = asyncio.create_task(listen())
    try:
        while True:
            await changed.wait()
            changed.clear()
            if pages is None:
                continue
            await asyncio.sleep(max(fetched_at + SHORTEST_REST_S - time.monotonic(), 0))
            fetched_at = time.monotonic()
            headers = {"Cutout_Fragment": "live"} | ({"If_None_Match": tag} if tag else {})
            tag = (await pages.get(path, **headers)).headers.get("etag", tag)
    finally:
        listening.cancel()


async def _send(signals: SignalSender) -> None:
    while True:
        signals.send(Signal.ENDED)
        await asyncio.sleep(1 / SIGNALS_A_SECOND)
