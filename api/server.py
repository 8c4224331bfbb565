"""The HTTP server: uvicorn, with bounds on how long a client may keep a connection without use.

uvicorn itself closes a connection that is idle after an answer. It waits for ever for the first byte of a new
one, for the rest of a request's head, for a body that nobody reads any more, and for a client that does not
read its answer.
"""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_WITHIN_S = 10.0
# Some 50 kB of an answer must be read in so long.
READ_WITHIN_S = 30.0
# Bytes of a request line and its headers; a key and a cursor need far fewer.
LONGEST_HEAD = 32 * 1024


class BoundedProtocol(H11Protocol):
    """Cuts off who sends no whole head of a request within 10 s, or does not read an answer for 30 s."""

    head_within_s = HEAD_WITHIN_S
    read_within_s = READ_WITHIN_S
    _waits: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.read_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._waits is None:
            self._waits = self.loop.call_later(self.head_within_s, self._give_up)

    def _give_up(self) -> None:
        self._waits = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _forget(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None


def server_options(**more: Any) -> uvicorn.Config:
    """How the app is served; `more` says what and where."""
    return uvicorn.Config(
        http=BoundedProtocol,
        ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
        server_header=False,
        # Nothing of a request is logged: ids in paths and cursors are no one else's business.
        access_log=False,
        **more,
    )
