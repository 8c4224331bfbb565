"""The record of paid calls: when each came, what became of it, and whether its answer went out whole."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sandbox.connection import is_open


@dataclass(eq=False)
class Call:
    """One request at the paid route. Times are seconds of the Unix epoch.

    `image_sha256` is empty where the request did not come whole, or was refused before it was read.
    `request_id` is that of its charge, if it was charged, `fault` the fault that struck it. `answered_at` is
    when the last byte of an answer went to a connection that was open; None if that never happened.
    """

    arrived_at: float = field(default_factory=time.time)
    image_sha256: str = ""
    request_id: str | None = None
    fault: str | None = None
    http_status: int | None = None
    answered_at: float | None = None


class Calls:
    """All calls since the clear, those without an answer yet too."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._open: list[Call] = []

    @contextmanager
    def arrival(self) -> Iterator[Call]:
        """A new call, written down when its answer goes out or it ends without one."""
        call = Call()
        self._open.append(call)
        try:
            yield call
        except BaseException:
            self._end(call)
            raise

    def delivery(self, call: Call, answer: Response) -> Response:
        """Answer whose end is noted."""
        call.http_status = answer.status_code
        return _Delivery(answer, call, self)

    def all(self) -> list[dict[str, Any]]:
        """Every call in order of arrival."""
        rows = self._database.execute("SELECT * FROM calls").fetchall()
        calls = [*map(dict, rows), *map(asdict, self._open)]
        return sorted(calls, key=lambda call: call["arrived_at"])

    def clear(self) -> None:
        """Forget those that have ended."""
        self._database.execute("DELETE FROM calls")

    def _end(self, call: Call) -> None:
        if call in self._open:
            self._open.remove(call)
            self._database.execute(
                "INSERT INTO calls VALUES (:arrived_at, :image_sha256, :request_id, :fault, :http_status,"
                " :answered_at)",
                asdict(call),
            )

    def end(self, call: Call, *, answered: bool) -> None:
        """Write down that the call is over, and whether its answer went out whole."""
        call.answered_at = time.time() if answered else None
        self._end(call)


class _Delivery(Response):
    def __init__(self, answer: Response, call: Call, calls: Calls) -> None:
        super().__init__()
        self._answer = answer
        self._call = call
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        went_out = False

        async def note(message: Message) -> None:
            nonlocal went_out
            was_open = is_open(scope)
            await send(message)
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            went_out = went_out or (is_last and was_open)

        try:
            await self._answer(scope, receive, note)
        finally:
            self._calls.end(self._call, answered=went_out)
