"""Short looks at the database from the event loop: each on a thread and a connection while it lasts."""

import uuid
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from sqlalchemy import Connection, Engine

from api.limits.producer_threads import Threads
from cutout.models.database import connect, patiently
from cutout.settings import Settings

# More threads do not make more looks a second: they share one interpreter.
QUICK, SLOW = 8, 4
# Threads for keys are apart: clients without a key must not delay those with one.
KEYS, STRANGERS = 2, 2
CONNECTIONS = QUICK + SLOW + KEYS + STRANGERS
GIVE_UP_AFTER_S = 5.0

T = TypeVar("T")
Look = Callable[[Connection], T]


class ReadPool:
    """Reads, each a statement or a few, committed one by one; they are repeated should Postgres go away.

    Counts of large batches queue by themselves, and leave a look at a job as quick as it is. `of` is the
    producer for whom it is, None if it is for all.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine: Engine = connect(
            settings.database_url.get_secret_value(),
            connections=CONNECTIONS,
            name="cutout-api-looks",
            check_first=False,
            autocommit=True,
            # A count takes one processor and leaves the others to those who answer.
            server_settings={"max_parallel_workers_per_gather": "0"},
        )
        self._quick = Threads("looks", CapacityLimiter(QUICK), QUICK)
        self._slow = Threads("counts", CapacityLimiter(SLOW), SLOW)
        self._keys = Threads("keys", CapacityLimiter(KEYS), KEYS)
        self._strangers = Threads("strangers", CapacityLimiter(STRANGERS), STRANGERS)

    async def quick(self, look: Look[T], *, of: uuid.UUID | None) -> T:
        """Run a query that reads by an index. Raises PostgresAwayError."""
        return await self._quick.run(of, self._look, look)

    async def slow(self, look: Look[T], *, of: uuid.UUID | None) -> T:
        """Run a query that counts many rows. Raises PostgresAwayError."""
        return await self._slow.run(of, self._look, look)

    async def key(self, look: Look[T], *, known: bool) -> T:
        """Run the query for an API key, which was `known` before or not. Raises PostgresAwayError."""
        return await (self._keys if known else self._strangers).run(None, self._look, look)

    def close(self) -> None:
        self._engine.dispose()

    def _look(self, look: Look[T]) -> T:
        return patiently(self._engine, look, give_up_after_s=GIVE_UP_AFTER_S)
