"""Steps of a call with a limiter, without the call."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from worker.limiter.limiter import Limiter, LimiterFeedback, Slot

MakeLimiter = Callable[..., Limiter]


def hold(limiter: Limiter, count: int, stack: ExitStack) -> None:
    """Take so many slots at once."""
    for _ in range(count):
        stack.enter_context(limiter.slot(longest_wait_s=0.5))


def send(slot: Slot) -> None:
    """Do what a call does up to its first byte."""
    slot.await_turn()
    slot.await_permission()
    slot.sent()


def end(limiter: Limiter, ending: LimiterFeedback, times: int = 1, **more: object) -> None:
    """So many calls, one after the other, that end so."""
    for n in range(times):
        with limiter.slot(longest_wait_s=2) as slot:
            send(slot)
            slot.ended(ending, **{"job": n} | more)  # type: ignore[arg-type]


def send_many(
    limiters: list[Limiter], calls: int, *, threads: int, late: Callable[[int], None] = lambda _: None
) -> list[float]:
    """When the first bytes of so many calls went out, in order; `late` comes between turn and first byte."""
    times: list[float] = []

    def call(number: int) -> None:
        with limiters[number % len(limiters)].slot(longest_wait_s=10) as slot:
            slot.await_turn()
            late(number)
            slot.await_permission()
            times.append(time.monotonic())
            slot.sent()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(calls)))
    return sorted(times)


def level(limiter: Limiter) -> float:
    figures = limiter.read()
    assert figures is not None
    return figures.level
