"""Waiting for a change: one question every 100 ms, or at a signal, for all who wait.

Who waits holds no thread and no connection.
"""

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from fastapi import Request
from sqlalchemy import Connection
from sse_starlette.sse import AppStatus

from api.limits.producer_slots import ProducerSlots
from api.live.read_pool import ReadPool
from api.problems import ProblemError
from cutout.models.database import PostgresAwayError
from cutout.status.changes import SeenState, changed_jobs, settled_batches

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
# Between two looks, however many signals come.
SHORTEST_REST_S = 0.01
# Each costs some 60 KB. Beyond this many a client is answered at once with the present state; past
# its own share a producer is refused.
MOST_WAITING = 2000

K = TypeVar("K", bound=Hashable)


class _Waiting(Generic[K]):
    """Waiting clients by what they wait for, and the query for what has changed."""

    def __init__(self, ask: Callable[[Connection, Collection[K]], list[K]]) -> None:
        self._ask = ask
        self._futures: defaultdict[K, set[asyncio.Future[None]]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._futures.values()))

    def add(self, key: K) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[key].add(future)
        return future

    def remove(self, key: K, future: "asyncio.Future[None]") -> None:
        self._futures[key].discard(future)
        if not self._futures[key]:
            del self._futures[key]

    async def look(self, looks: ReadPool) -> None:
        keys = list(self._futures)
        if keys:
            self._wake(await looks.quick(lambda connection: self._ask(connection, keys), of=None))

    def wake_all(self) -> None:
        self._wake(list(self._futures))

    def _wake(self, keys: Collection[K]) -> None:
        for key in keys:
            for future in self._futures.get(key, ()):
                if not future.done():
                    future.set_result(None)


class Watch:
    """Waiting of requests for jobs and batches. Reads only while a request waits."""

    def __init__(self, looks: ReadPool) -> None:
        self._looks = looks
        self._places = ProducerSlots("waits", "requests that wait", MOST_WAITING)
        self._jobs: _Waiting[SeenState] = _Waiting(changed_jobs)
        self._batches: _Waiting[uuid.UUID] = _Waiting(settled_batches)
        self._looking: asyncio.Task[None] | None = None
        self._signalled = asyncio.Event()

    async def job_changes(
        self, request: Request, of: uuid.UUID, job_id: uuid.UUID, state: str, seconds: float
    ) -> bool:
        """Wait until the job is not in this state; False after that many seconds, or if the client is gone.

        Raises a problem 429 if the producer that asks, `of`, waits for too much already.
        """
        return await self._wait(self._jobs, (job_id, state), request, of, seconds)

    async def batch_rests(self, request: Request, of: uuid.UUID, batch_id: uuid.UUID, seconds: float) -> bool:
        """Wait until nothing of the batch moves any more, likewise."""
        return await self._wait(self._batches, batch_id, request, of, seconds)

    def look_now(self) -> None:
        """Look for changes at once, if anybody waits: a job has ended that somebody may wait for."""
        self._signalled.set()

    def __len__(self) -> int:
        return len(self._jobs) + len(self._batches)

    async def _wait(
        self, waiting: _Waiting[K], key: K, request: Request, of: uuid.UUID, seconds: float
    ) -> bool:
        if self._places.full or AppStatus.should_exit:
            return False
        with self._places.held(of):
            return await self._wait_in_place(waiting, key, request, seconds)

    async def _wait_in_place(self, waiting: _Waiting[K], key: K, request: Request, seconds: float) -> bool:
        change = waiting.add(key)
        gone = asyncio.create_task(_gone(request))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait({change, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            waiting.remove(key, change)
        return change.done()

    async def _look(self) -> None:
        try:
            while len(self) and not AppStatus.should_exit:
                began_at = time.monotonic()
                await self._look_once()
                await self._rest(LOOK_EVERY_S - (time.monotonic() - began_at))
        finally:
            # At the process's end everybody is answered: a request that waits would hold it up.
            self._looking = None
            self._jobs.wake_all()
            self._batches.wake_all()

    async def _rest(self, seconds: float) -> None:
        """Wait for the next look: until a signal comes, at most so long."""
        await asyncio.sleep(SHORTEST_REST_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds - SHORTEST_REST_S, 0)):
                await self._signalled.wait()

    async def _look_once(self) -> None:
        self._signalled.clear()
        try:
            await self._jobs.look(self._looks)
            await self._batches.look(self._looks)
        except PostgresAwayError as error:
            log.warning("who waits for a change waits on: %s", error)


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection, or sends a body that no look has."""
    with suppress(ProblemError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
