"""Short looks at the database from the event loop: each on a thread and a connection while it lasts."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine

from jobs.database import connect, patiently
from jobs.settings import Settings

# More threads do not make more looks a second: they share one interpreter.
QUICK, SLOW = 8, 3
CONNECTIONS = QUICK + SLOW
GIVE_UP_AFTER_S = 5.0

T = TypeVar("T")


class Looks:
    """Reads, each a statement or a few, committed one by one; they are repeated should Postgres go away.

    Counts of large batches queue by themselves, and leave a look at a job as quick as it is.
    """

    def __init__(self, known: Settings) -> None:
        self._engine: Engine = connect(
            known.database_url.get_secret_value(),
            connections=CONNECTIONS,
            name="cutout-api-looks",
            check_first=False,
            autocommit=True,
            # A count takes one processor and leaves the others to those who answer.
            server_settings={"max_parallel_workers_per_gather": "0"},
        )
        self._quick, self._slow = CapacityLimiter(QUICK), CapacityLimiter(SLOW)

    async def quick(self, look: Callable[[Connection], T]) -> T:
        """What a look by an index finds. Raises PostgresAwayError."""
        return await to_thread.run_sync(self._look, look, limiter=self._quick)

    async def slow(self, look: Callable[[Connection], T]) -> T:
        """What a count finds. Raises PostgresAwayError."""
        return await to_thread.run_sync(self._look, look, limiter=self._slow)

    def close(self) -> None:
        self._engine.dispose()

    def _look(self, look: Callable[[Connection], T]) -> T:
        return patiently(self._engine, look, give_up_after_s=GIVE_UP_AFTER_S)
