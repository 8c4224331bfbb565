"""What many ask for is looked up once a second, however many ask."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

GOOD_FOR_S = 1.0
MOST_KEPT = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Held(Generic[V]):
    """A value, when the look that found it was begun, and how long that took."""

    value: V
    begun_at: float
    took_s: float


class Fresh(Generic[K, V]):
    """Values by key, each looked up by one of those who ask while the others wait for it or use the last one.

    A value is at most a second old and, while the next is looked up, older by as long as a look takes.
    None is not kept. Belongs to one event loop.
    """

    def __init__(self, look: Callable[[K], Awaitable[V | None]]) -> None:
        self._look = look
        self._held: OrderedDict[K, _Held[V]] = OrderedDict()
        self._looks: dict[K, asyncio.Task[V | None]] = {}

    async def get(self, key: K, *, since: float = 0.0) -> V | None:
        """The value, looked up not before `since` on the monotonic clock."""
        held = self._held.get(key)
        if held is not None and held.begun_at >= since:
            age_s = time.monotonic() - held.begun_at
            if age_s < GOOD_FOR_S:
                return held.value
            look = self._begin(key)
            if age_s < GOOD_FOR_S + held.took_s:
                return held.value
            return await asyncio.shield(look)
        if since and key in self._looks:
            # It may have begun too early.
            await asyncio.shield(self._looks[key])
            return await self.get(key, since=since)
        return await asyncio.shield(self._begin(key))

    def _begin(self, key: K) -> "asyncio.Task[V | None]":
        if key not in self._looks:
            task = asyncio.create_task(self._look_up(key))
            self._looks[key] = task
            task.add_done_callback(lambda done: self._end(key, done))
        return self._looks[key]

    def _end(self, key: K, done: "asyncio.Task[V | None]") -> None:
        del self._looks[key]
        if not done.cancelled():
            # Whoever waits gets it; if nobody does any more, it is not reported as lost.
            done.exception()

    async def _look_up(self, key: K) -> V | None:
        begun_at = time.monotonic()
        value = await self._look(key)
        if value is None:
            self._held.pop(key, None)
            return None
        self._held[key] = _Held(value, begun_at, time.monotonic() - begun_at)
        self._held.move_to_end(key)
        while len(self._held) > MOST_KEPT:
            self._held.popitem(last=False)
        return value
