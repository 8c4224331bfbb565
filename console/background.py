"""Slow answers: made beside the pages, few at once, for all viewers together; each says how old it is.

Those of operators and those of producers have turns of their own: lists of a producer delay no operator.
"""

import asyncio
import logging
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine

from cutout.models.database import connect, kind_of
from cutout.telemetry.single_flight import SingleFlight

log = logging.getLogger(__name__)

STATEMENT_S = 60
LONGEST_S = 300.0
# After each answer so many times its duration passes before the next is begun in its turn.
REST = 3.0
MOST_KEPT = 200
# Answers of one producer that wait for their turn: a page of its list. Operators have MOST_KEPT.
MOST_OF_ONE = 25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Aged(Generic[T]):
    """An answer and when the reading of it began; without one `value` and `as_of` are None.

    `fault`: the last try gave none. `under_way`: the next is being made.
    """

    value: T | None = None
    as_of: datetime | None = None
    fault: str | None = None
    under_way: bool = False


class Background:
    """Answers by key. Belongs to one event loop."""

    def __init__(self, engine: Engine, *, at_once: int) -> None:
        """`at_once` answers for operators and as many for producers: the engine has connections for both."""
        self._engine = engine
        self._turns = {is_operator: asyncio.Semaphore(at_once) for is_operator in (True, False)}
        self._waiting: Counter[uuid.UUID | None] = Counter()
        self._kept: OrderedDict[Hashable, tuple[Aged[Any], float]] = OrderedDict()
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def look(
        self, key: Hashable, work: Callable[[Engine], T], *, every_s: float, of: uuid.UUID | None = None
    ) -> Aged[T]:
        """The last answer, at once; one that is older than `every_s` is made anew meanwhile.

        `of` is the producer that looks, None an operator.
        """
        kept, good_until = self._kept.get(key, (Aged(), 0.0))
        # Keys are of viewers: without room for one more, it waits until others are done.
        if key not in self._tasks and time.monotonic() >= good_until and self._has_room(of):
            task = asyncio.create_task(self._make(key, work, every_s, self._turns[of is None]))
            self._tasks[key] = task
            self._waiting[of] += 1
            task.add_done_callback(lambda done: self._forget(key, of, done))
        return Aged(kept.value, kept.as_of, kept.fault, key in self._tasks)

    def close(self) -> None:
        """Begin no more answers; a thread at work ends with its statement or the process."""
        for task in self._tasks.values():
            task.cancel()

    def _has_room(self, of: uuid.UUID | None) -> bool:
        if of is None:
            return self._waiting[None] < MOST_KEPT
        return self._waiting[of] < MOST_OF_ONE and self._waiting.total() - self._waiting[None] < MOST_KEPT

    def _forget(self, key: Hashable, of: uuid.UUID | None, task: "asyncio.Task[None]") -> None:
        self._waiting -= Counter([of])
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _make(
        self, key: Hashable, work: Callable[[Engine], T], every_s: float, turns: asyncio.Semaphore
    ) -> None:
        async with turns:
            as_of, began = datetime.now(UTC), time.monotonic()
            flight: SingleFlight[T] = SingleFlight("console-slow", lambda: work(self._engine), fresh_s=0)
            try:
                made: Aged[Any] = Aged(await flight.get_soon(LONGEST_S), as_of)
            except Exception as error:  # noqa: BLE001 - whatever it is, the last answer stays with its age
                log.warning("a slow answer of the console failed: %s", kind_of(error))
                last, _ = self._kept.get(key, (Aged(), 0.0))
                made = Aged(last.value, last.as_of, f"The last try failed ({kind_of(error)}).")
            self._kept[key] = made, time.monotonic() + every_s
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            self._tasks.pop(key, None)
            await asyncio.sleep(REST * (time.monotonic() - began))


def slow_engine(url: str, connections: int) -> Engine:
    """Connections for slow answers, each statement on one processor of the server for a minute at most."""
    return connect(
        url,
        connections=connections,
        name="cutout-console-slow",
        server_settings={
            "statement_timeout": f"{STATEMENT_S}s",
            "lock_timeout": "1s",
            "max_parallel_workers_per_gather": "0",
        },
    )
