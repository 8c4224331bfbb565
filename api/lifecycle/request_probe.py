"""Whether requests get what they need of this process: a thread of the common pool, and a connection."""

import asyncio
import time

from anyio import to_thread
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.services import Services
from cutout.monitoring.check import Check

FRESH_S = 1.0


class RequestsProbe:
    """Borrows what a request borrows, one look at a time however many ask. Belongs to one event loop."""

    def __init__(self, services: Services) -> None:
        self._at_hand = services
        self._look: asyncio.Task[Check] | None = None
        self._ended_at = 0.0

    async def look(self, within_s: float) -> list[Check]:
        """The check; it is wrong without a thread and a connection in time."""
        look = self._look
        if look is None or (look.done() and time.monotonic() - self._ended_at >= FRESH_S):
            # A look that hangs is not joined by another, which would hang on a thread of its own.
            look = self._look = asyncio.create_task(self._borrow())
        # Another request may begin the next look before this one goes on.
        done, _ = await asyncio.wait({look}, timeout=within_s)
        if done:
            return [look.result()]
        limiter = self._at_hand.threads.limiter
        found = (
            f"no thread and connection within {within_s:.0f} s;"
            f" {limiter.borrowed_tokens} of {limiter.total_tokens:g} threads are borrowed"
        )
        return [Check("requests", ok=False, found=found)]

    async def _borrow(self) -> Check:
        try:
            await to_thread.run_sync(self._select, limiter=self._at_hand.threads.limiter)
        except SQLAlchemyError as error:
            return Check("requests", ok=False, found="no connection for a request", cause=error)
        finally:
            self._ended_at = time.monotonic()
        return Check("requests", ok=True, found="ok")

    def _select(self) -> None:
        with self._at_hand.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
