"""Threads that work for producers: one producer works on a quarter of them at most."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from api import metrics
from api.limits.producer_slots import busy, share_of, too_many_at_once

# A request that is one too many for its producer waits for an earlier one of it.
PATIENCE_S = 10.0
MOST_WAITING = 250

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Turns:
    """The turns of one producer, and how many requests have one or wait for one."""

    free: asyncio.Semaphore
    asked: int = field(default=0)


class Threads:
    """A pool of threads. Belongs to one event loop.

    `most` is how many can work at once: as many as there are threads, or connections if these are fewer.
    """

    def __init__(self, pool: str, limiter: CapacityLimiter, most: int) -> None:
        self.limiter, self.share = limiter, share_of(most)
        self._pool, self._most = pool, most
        self._turns: dict[uuid.UUID, _Turns] = {}
        # Those of all producers: one more would wait in a thread for what others hold that wait for a thread.
        self._free = asyncio.Semaphore(most)
        metrics.watch_threads(pool, limiter)

    async def run(self, of: uuid.UUID | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on a thread in the producer's turn, and return its result; None is this process."""
        if of is None:
            return await self._run(work, *args, **kwargs)
        async with self.turn(of):
            return await self._run(work, *args, **kwargs)

    async def finish(self, of: uuid.UUID, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that is half done: as `run`, and it waits for its turn without a time limit."""
        async with self.turn(of, patience_s=None):
            return await self._run(work, *args, **kwargs)

    def is_free_for(self, of: uuid.UUID) -> bool:
        """Whether the producer would have a turn at once."""
        turns = self._turns.get(of)
        return not self._free.locked() and (turns is None or not turns.free.locked())

    @asynccontextmanager
    async def turn(self, of: uuid.UUID, *, patience_s: float | None = PATIENCE_S) -> AsyncIterator[None]:
        """One of the producer's turns, which wait for each other; a problem 429 if there is none in time.

        A problem 503 if those of all producers are taken for as long.
        """
        turns = self._turns.setdefault(of, _Turns(asyncio.Semaphore(self.share)))
        if patience_s is not None and turns.asked >= self.share + MOST_WAITING:
            raise self._refusal()
        turns.asked += 1
        try:
            try:
                async with asyncio.timeout(patience_s):
                    await turns.free.acquire()
            except TimeoutError:
                raise self._refusal() from None
            try:
                async with self._one_of_all(patience_s):
                    yield
            finally:
                turns.free.release()
        finally:
            turns.asked -= 1
            if not turns.asked:
                del self._turns[of]

    @asynccontextmanager
    async def _one_of_all(self, patience_s: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(patience_s):
                await self._free.acquire()
        except TimeoutError:
            metrics.REFUSALS.labels(self._pool, "all").inc()
            raise busy(f"this process has {self._most} requests at work, no more are taken") from None
        try:
            yield
        finally:
            self._free.release()

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self.limiter)

    def _refusal(self) -> Exception:
        metrics.REFUSALS.labels(self._pool, "share").inc()
        return too_many_at_once(self.share, "requests at work")
