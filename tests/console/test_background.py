"""Slow answers beside the pages: made in turn, once for all who look, and shown with their age."""

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable

from sqlalchemy import Engine

from console.background import MOST_OF_ONE, Background
from tests.support import event_loop
from tests.support.machine import scaled

LONG = 1000.0


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(scaled(10)):
        while not is_so():  # noqa: ASYNC110 - threads make it so
            await asyncio.sleep(0.005)


def run(engine: Engine, test: Callable[[Background], Awaitable[None]]) -> None:
    """Run the test with answers made one at a time."""

    async def whole() -> None:
        background = Background(engine, at_once=1)
        try:
            await test(background)
        finally:
            background.close()

    event_loop.run(whole())


def test_an_answer_is_made_once_for_all(engine: Engine) -> None:
    """The first look begins it and has none; all further ones get it, with the time of its beginning."""
    made: list[Engine] = []

    def work(used: Engine) -> int:
        made.append(used)
        return 7

    async def test(background: Background) -> None:
        first = background.look("sums", work, every_s=LONG)
        assert (first.value, first.as_of, first.under_way) == (None, None, True)
        for _ in range(50):
            background.look("sums", work, every_s=LONG)
        await until(lambda: background.look("sums", lambda _: 8, every_s=LONG).value is not None)
        last = background.look("sums", lambda _: 8, every_s=LONG)
        assert last.value == 7
        assert last.as_of is not None
        assert not last.under_way

    run(engine, test)
    assert made == [engine]


def test_the_last_answer_stays_while_the_next_is_made_or_fails(engine: Engine) -> None:
    """An old answer is shown with its own age; that the last try failed is said beside it."""
    may_end = threading.Event()

    def fail(_: Engine) -> int:
        may_end.wait(scaled(10))
        raise RuntimeError("broken")

    async def test(background: Background) -> None:
        await until(lambda: background.look("sums", lambda _: 7, every_s=0.0).value == 7)
        as_of = background.look("sums", fail, every_s=LONG).as_of
        await until(lambda: background.look("sums", fail, every_s=LONG).under_way)
        assert background.look("sums", fail, every_s=LONG).value == 7
        may_end.set()
        await until(lambda: background.look("sums", fail, every_s=LONG).fault is not None)
        failed = background.look("sums", fail, every_s=LONG)
        assert failed.value == 7
        assert failed.as_of is not None
        assert as_of is not None
        assert failed.as_of >= as_of
        # Which statement failed is for the log; its text may hold secrets.
        assert failed.fault == "The last try failed (RuntimeError)."

    run(engine, test)


def test_answers_are_made_in_turn(engine: Engine) -> None:
    """However many viewers ask, no two are made at once."""
    at_work, most = 0, 0
    lock = threading.Lock()

    def work(_: Engine) -> bool:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        threading.Event().wait(0.01)
        with lock:
            at_work -= 1
        return True

    async def test(background: Background) -> None:
        keys = range(8)
        await until(lambda: all(background.look(key, work, every_s=LONG).value for key in keys))

    run(engine, test)
    assert most == 1


def test_a_producer_delays_no_operator_and_not_all_others(engine: Engine) -> None:
    """Many answers of one producer wait for each other; an operator's is made meanwhile."""
    shop, other, ends = uuid.uuid4(), uuid.uuid4(), threading.Event()

    def work(_: Engine) -> bool:
        return ends.wait(scaled(10))

    async def test(background: Background) -> None:
        begun = [
            background.look(("shop", number), work, every_s=LONG, of=shop).under_way
            for number in range(MOST_OF_ONE + 10)
        ]
        assert begun.count(True) == MOST_OF_ONE
        assert background.look("other", work, every_s=LONG, of=other).under_way
        background.look("checks", lambda _: 7, every_s=LONG)
        await until(lambda: background.look("checks", lambda _: 8, every_s=LONG).value == 7)
        ends.set()

    run(engine, test)
