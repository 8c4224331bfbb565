"""Lookups of tokens of sessions and links: unknown ones are limited by address, as wrong keys are."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from sqlalchemy import Connection

from console.faults import PageError
from console.handed import TooManyTriesError, Tries
from console.pool import SESSIONS, Pool
from cutout.producers.sessions import token_hash

# 32 random bytes in base64url.
SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")
MOST_KNOWN = 1000

T = TypeVar("T")
Work = Callable[[Connection, bytes], T | None]


class TokenLookups:
    """Belongs to one event loop."""

    def __init__(self, pool: Pool, tries: Tries) -> None:
        self._pool, self._tries = pool, tries
        # Hashes that were valid when they were looked up last: watched pages cost no try.
        self._known: OrderedDict[bytes, None] = OrderedDict()

    async def look_up(
        self,
        token: str,
        address: str,
        work: Work[T],
        *,
        changes: bool = False,
    ) -> T | None:
        """The result of `work` on the token's hash; None for a token that is not valid.

        Raises PageError: 429 after too many unknown tokens of the client's address, 503 without Postgres.
        """
        if not SHAPE.fullmatch(token):
            return None
        hashed = token_hash(token)
        is_known = hashed in self._known
        if not is_known:
            self._take(address)
        try:
            found = await self._run(lambda connection: work(connection, hashed), changes=changes)
        except PageError:
            if not is_known:
                self._tries.give_back(address)
            raise
        if found is None:
            self._known.pop(hashed, None)
            return None
        if not is_known:
            self._tries.give_back(address)
        self._remember(hashed)
        return found

    def note_made(self, token: str) -> None:
        """Note that the token is valid: it was just made."""
        self._remember(token_hash(token))

    async def _run(self, work: Callable[[Connection], T], *, changes: bool) -> T:
        run = self._pool.change if changes else self._pool.read
        return await run(work, of=SESSIONS)

    def _take(self, address: str) -> None:
        try:
            self._tries.take(address)
        except TooManyTriesError as error:
            raise PageError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many unknown keys or sessions came from your address.",
                "Wait a moment.",
                wait_s=math.ceil(error.wait_s),
            ) from None

    def _remember(self, hashed: bytes) -> None:
        self._known[hashed] = None
        self._known.move_to_end(hashed)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
