"""Steps of calls with a limiter, without the calls."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from worker.limiter.limiter import Figures, Limiter, LimiterFeedback, LimitReached, Slot

MakeLimiter = Callable[..., Limiter]


def hold(limiter: Limiter, count: int, stack: ExitStack) -> None:
    """Take `count` slots at once."""
    for _ in range(count):
        stack.enter_context(limiter.slot(longest_wait_s=0.5))


def send(slot: Slot) -> None:
    """Do the steps of a call up to its first byte."""
    slot.await_turn()
    slot.await_permission()
    slot.sent()


def end(limiter: Limiter, ending: LimiterFeedback, times: int = 1, **more: object) -> None:
    """Make `times` calls, one after the other, with this feedback."""
    for n in range(times):
        with limiter.slot(longest_wait_s=2) as slot:
            send(slot)
            slot.ended(ending, **{"job": n} | more)  # type: ignore[arg-type]


def send_many(
    limiters: list[Limiter], calls: int, *, threads: int, late: Callable[[int], None] = lambda _: None
) -> list[float]:
    """Times of the first bytes of `calls` calls, in order; `late` runs between turn and first byte.

    A call without permission in time takes a slot again, as its job would: on a busy machine many are late.
    """
    times: list[float] = []

    def call(number: int) -> None:
        while not is_sent(number):
            pass

    def is_sent(number: int) -> bool:
        with limiters[number % len(limiters)].slot(longest_wait_s=10) as slot:
            slot.await_turn()
            late(number)
            try:
                slot.await_permission()
            except LimitReached:
                return False
            times.append(time.monotonic())
            slot.sent()
            return True

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(calls)))
    return sorted(times)


def level(limiter: Limiter) -> float:
    return _figures(limiter).level


def waiting(limiter: Limiter) -> int:
    """Callers that asked for a slot and have none yet."""
    return _figures(limiter).waiting


def _figures(limiter: Limiter) -> Figures:
    figures = limiter.read()
    assert figures is not None
    return figures
