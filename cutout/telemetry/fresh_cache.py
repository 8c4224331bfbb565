"""A cache in which each key is loaded at most once a second, by one caller, while the others wait."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

GOOD_FOR_S = 1.0
# Asked for without a pause, a value is given out while the next is looked up, unless that takes too long.
SLACK_S = 0.05
LONGEST_LOOK_S = 5.0
MOST_KEPT = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Held(Generic[V]):
    """A value, and when the look that found it was begun."""

    value: V
    begun_at: float


@dataclass(frozen=True, slots=True)
class _Look(Generic[V]):
    """A look on its way."""

    task: "asyncio.Task[V | None]"
    begun_at: float

    def may_wait(self, held: _Held[V], slack_s: float) -> bool:
        """Whether the value before it will do until it is over."""
        was_asked_for = self.begun_at - held.begun_at < GOOD_FOR_S + slack_s
        return was_asked_for and time.monotonic() - self.begun_at < LONGEST_LOOK_S


class FreshCache(Generic[K, V]):
    """Values by key, each looked up by one of those who ask while the others wait for it or use the last one.

    A value is at most a second old and, while the next is looked up, older by as long as a look takes, and by
    `slack_s`. None is not kept. Belongs to one event loop.
    """

    def __init__(
        self,
        look: Callable[[K], Awaitable[V | None]],
        *,
        slack_s: float = SLACK_S,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self._look = look
        self._slack_s = slack_s
        self._most_kept = most_kept
        self._held: OrderedDict[K, _Held[V]] = OrderedDict()
        self._looks: dict[K, _Look[V]] = {}

    def remembers(self, key: K) -> bool:
        """Whether there was a value when it was last looked up."""
        return key in self._held

    def is_looked_up(self, key: K) -> bool:
        """Whether a look for it is on its way."""
        return key in self._looks

    async def get(self, key: K, *, since: float = 0.0) -> V | None:
        """The value, looked up not before `since` on the monotonic clock."""
        held = self._held.get(key)
        if held is not None and held.begun_at >= since:
            if time.monotonic() - held.begun_at < GOOD_FOR_S:
                return held.value
            look = self._begin(key)
            return held.value if look.may_wait(held, self._slack_s) else await asyncio.shield(look.task)
        while key in self._looks and self._looks[key].begun_at < since:
            # It began too early.
            await asyncio.shield(self._looks[key].task)
        return await asyncio.shield(self._begin(key).task)

    def _begin(self, key: K) -> _Look[V]:
        if key not in self._looks:
            begun_at = time.monotonic()
            task = asyncio.create_task(self._look_up(key, begun_at))
            self._looks[key] = _Look(task, begun_at)
            # Callers that wait get the error; without any, it is not reported as never retrieved.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._looks[key]

    async def _look_up(self, key: K, begun_at: float) -> V | None:
        try:
            value = await self._look(key)
        finally:
            # Before the task is done: who waited for it must not find it again.
            del self._looks[key]
        if value is None:
            self._held.pop(key, None)
            return None
        self._held[key] = _Held(value, begun_at)
        self._held.move_to_end(key)
        while len(self._held) > self._most_kept:
            self._held.popitem(last=False)
        return value
