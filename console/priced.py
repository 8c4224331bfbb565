"""Answers that are kept as long as their price asks, for all viewers together; each says how old it is."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

# Of one processor's time of the database, for one answer.
MOST_SHARE = 0.05
FRESH_S = 1.0
# An answer that is older is of nobody who looks on.
STALE_S = 5.0
MOST_KEPT = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Answer(Generic[V]):
    """An answer, and when the reading of it began."""

    value: V
    at: datetime


@dataclass(frozen=True, slots=True)
class _Kept(Generic[V]):
    """An answer, and until when it is given out again; monotonic."""

    answer: Answer[V]
    good_until: float


class Priced(Generic[K, V]):
    """Answers by key; one that took long is asked for less often. Belongs to one event loop.

    At most `at_once` are made at a time, `at_once_of_one` of the owner that `one_of` gives for a key, and one
    of a key. None is not kept. `FreshCache` is for cheap questions: there a value is a second old at most,
    whatever it costs, and nobody waits for a turn.
    """

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V | None]],
        *,
        at_once: int,
        at_once_of_one: int | None = None,
        one_of: Callable[[K], Hashable] = lambda _: None,
    ) -> None:
        self._ask = ask
        self._one_of = one_of
        self._own_turns: defaultdict[Hashable, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once_of_one or at_once)
        )
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._tasks: dict[K, asyncio.Task[Answer[V] | None]] = {}
        self._turns = asyncio.Semaphore(at_once)

    async def get(self, key: K, *, soon: bool = False) -> Answer[V] | None:
        """The answer; with `soon` the last one, while the next is made, unless it is older than STALE_S."""
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and now < kept.good_until:
            return kept.answer
        task = self._begin(key)
        if soon and kept is not None and now < kept.good_until + STALE_S:
            return kept.answer
        return await asyncio.shield(task)

    def _begin(self, key: K) -> "asyncio.Task[Answer[V] | None]":
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._make(key))
            # Callers that wait get the error; without any, it is not reported as never retrieved.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _make(self, key: K) -> Answer[V] | None:
        try:
            async with self._own_turns[self._one_of(key)], self._turns:
                began, at = time.monotonic(), datetime.now(UTC)
                found = await self._ask(key)
        finally:
            # Before the task is done: who waited for it must not find it again.
            del self._tasks[key]
        if found is None:
            self._kept.pop(key, None)
            return None
        ended, answer = time.monotonic(), Answer(found, at)
        self._kept[key] = _Kept(answer, ended + max(FRESH_S, (ended - began) / MOST_SHARE))
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer
