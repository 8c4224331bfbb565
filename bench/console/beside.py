"""The API beside the console: the time of its answers with viewers and without, in turn."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.console.filling import Filled
from bench.console.pages import screens_of, walk
from bench.polling.client import Client
from bench.polling.parts import at_rate, p95
from bench.table import Figure, say

ROUNDS, SECONDS = 4, 10
CLIENTS, A_SECOND = 16, 50


async def figures_of(port: int, filled: Filled, viewers: int, most_times: float) -> list[Figure]:
    """A line for the 95th percentiles."""
    without: list[float] = []
    with_viewers: list[float] = []
    for number in range(ROUNDS):
        say(f"console: the API beside it, round {number + 1} of {ROUNDS}")
        without += await _ask(port, filled)
        walking = asyncio.create_task(
            walk(port, filled, screens_of(filled), viewers=viewers, seconds=SECONDS)
        )
        with_viewers += await _ask(port, filled)
        await walking
    alone, beside = p95(without) * 1000, p95(with_viewers) * 1000
    what = (
        f"`GET /v1/jobs/{{id}}` at {A_SECOND} a second, p95 with {viewers} viewers, {beside:.1f} ms, and"
        f" without, {alone:.1f} ms"
    )
    times = beside / alone
    return [Figure(what, f"{times:.2f} times", f"{most_times} times", times <= most_times)]


async def _ask(port: int, filled: Filled) -> Sequence[float]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(port, filled.key)) for _ in range(CLIENTS)]
        return await at_rate(
            clients,
            A_SECOND,
            SECONDS,
            lambda: f"/v1/jobs/{random.choice(filled.waiting)}",  # noqa: S311
        )
