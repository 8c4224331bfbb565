"""The console's own connections to Postgres: few, and no statement for long: no page delays the API."""

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError

from console.faults import PageError
from cutout.models.database import PostgresAwayError, connect, is_away, kind_of, patiently
from cutout.models.database_errors import sqlstate

# Each page asks first whose session it is, which must not wait for slow pages.
FOR_PAGES, FOR_SESSIONS = 3, 2
# One producer's pages, or the operators', leave the rest to the others.
SHARE = 2
STATEMENT_S = 2
# Of one turn: who asks much keeps nobody else out.
MOST_WAITING = 100
GIVE_UP_AFTER_S = 1.0
CANCELLED = "57014"
# Of a row that somebody else changes, and of two who wait for one another.
IN_USE = frozenset({"55P03", "40P01"})
# Sessions are looked up, made and ended in a turn of their own.
SESSIONS = uuid.UUID(int=0)

FAULTS = (DBAPIError, NoConnectionFreeError, PostgresAwayError)

T = TypeVar("T")
Work = Callable[[Connection], T]


class Pool:
    """Reads and small changes on threads. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = connect(
            url,
            # And one for the state of the installation, which a thread of its own reads.
            connections=FOR_PAGES + FOR_SESSIONS + 1,
            name="cutout-console",
            check_first=False,
            autocommit=True,
            server_settings={
                "statement_timeout": f"{STATEMENT_S}s",
                "lock_timeout": "1s",
                "max_parallel_workers_per_gather": "0",
            },
        )
        self._threads, self._session_threads = CapacityLimiter(FOR_PAGES), CapacityLimiter(FOR_SESSIONS)
        self._turns: defaultdict[uuid.UUID | None, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(SHARE)
        )
        self._waiting: Counter[uuid.UUID | None] = Counter()

    async def read(self, look: Work[T], *, of: uuid.UUID | None) -> T:
        """Run statements that only read, each by itself.

        `of` is the producer for whom, None an operator, SESSIONS a lookup of sessions.
        Raises PageError, 503, if Postgres is away or the statement takes too long.
        """
        return await self._run(of, lambda: patiently(self.engine, look, give_up_after_s=GIVE_UP_AFTER_S))

    async def change(self, work: Work[T], *, of: uuid.UUID | None = None) -> T:
        """Run a transaction, once. Raises PageError, 503, if Postgres is away: then nothing may be done."""
        return await self._run(of, lambda: self._change(work))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _change(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                return work(connection)

    async def _run(self, of: uuid.UUID | None, work: Callable[[], T]) -> T:
        if self._waiting[of] >= MOST_WAITING:
            raise PageError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many pages are asked for at once.",
                "Try again.",
                wait_s=2,
            )
        self._waiting[of] += 1
        try:
            async with self._turns[of]:
                threads = self._session_threads if of == SESSIONS else self._threads
                return await to_thread.run_sync(work, limiter=threads)
        except FAULTS as error:
            raise page_error(error) from error
        finally:
            self._waiting[of] -= 1


def page_error(error: Exception) -> Exception:
    """The page about a database that is away or slow; other errors are returned as they are."""
    # Who is patient meets them as a database that is away.
    code = sqlstate(error) or sqlstate(error.__cause__)
    if code == CANCELLED:
        return PageError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"This question took the database longer than {STATEMENT_S} s, and was given up.",
            "Ask for less: name a batch, or filter.",
            wait_s=5,
        )
    if code in IN_USE:
        return PageError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Somebody else is changing the same thing, and nothing was done.",
            "Try again.",
            wait_s=5,
        )
    if isinstance(error, NoConnectionFreeError) or is_away(error):
        return PageError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Postgres does not answer.",
            "This page tries again by itself. Nothing is lost: jobs wait, and paid results are kept.",
            wait_s=5,
        )
    return RuntimeError(f"a question of the console failed: {kind_of(error)}")
