"""The HTTP server: uvicorn, with bounds on how long a client may keep a connection without use.

uvicorn itself closes a connection that is idle after an answer. It waits for ever for the first byte of a new
one, for the rest of a request's head, for a body that nobody reads any more, and for a client that does not
read its answer.
"""

import asyncio
import gc
import logging
import signal
import socket
import time
from http import HTTPStatus
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from h11._receivebuffer import ReceiveBuffer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api import metrics
from api.lifecycle.drain import LEAVING
from api.malformed import malformed_request
from api.middleware.lingering_close import LingeringTransport
from api.middleware.request_log import NO_ROUTE

log = logging.getLogger(__name__)

HEAD_WITHIN_S = 10.0
# Some 50 kB of an answer must be read in so long.
READ_WITHIN_S = 30.0
# Bytes of a request line and its headers; a key and a cursor need far fewer.
LONGEST_HEAD = 32 * 1024
# Taking 5,000 headers apart takes 28 ms. Browsers behind several proxies send some 40.
MOST_HEADERS = 100
# Of a body that is answered before it came. What is larger, or says no length, is not waited for.
MOST_UNREAD = 64 * 1024
CLOSE = (b"connection", b"close")


class BoundedLines(ReceiveBuffer):
    """Gives no head and no trailers of more than MOST_HEADERS headers: they are refused unread."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines up to the first blank one, if it has come."""
        lines = super().maybe_extract_lines()
        # One more is the request line.
        if lines is not None and len(lines) > MOST_HEADERS + 1:
            raise h11.LocalProtocolError("there are too many headers", error_status_hint=431)
        return lines


class BoundedConnection(h11.Connection):
    """Takes no head of more than LONGEST_HEAD bytes, also not in one piece: h11 itself bounds parts."""

    fault: h11.RemoteProtocolError | None = None

    def __init__(self) -> None:
        super().__init__(h11.SERVER, LONGEST_HEAD)
        # h11 bounds no numbers, and has no setting for the buffer that it reads lines from.
        self._receive_buffer = BoundedLines()

    def next_event(self) -> Any:
        """The next event; a fault of the client's is raised, and kept for the answer."""
        try:
            event = super().next_event()
            _bound_head(event)
        except h11.RemoteProtocolError as error:
            self.fault = error
            raise
        return event


def _bound_head(event: Any) -> None:
    if isinstance(event, h11.Request) and _size_of_head(event) > LONGEST_HEAD:
        raise h11.RemoteProtocolError("the head is too long", error_status_hint=431)


def _size_of_head(event: h11.Request) -> int:
    # Each header has a colon, a blank and an end of line beside its text.
    headers = sum(len(name) + len(value) + 4 for name, value in event.headers)
    return len(event.method) + len(event.target) + len(" HTTP/1.1\r\n ") + headers + 2


class BoundedProtocol(H11Protocol):
    """Cuts off who sends no whole head of a request within 10 s, or does not read an answer for 30 s."""

    head_within_s = HEAD_WITHIN_S
    read_within_s = READ_WITHIN_S
    conn: BoundedConnection
    _waits: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn = BoundedConnection()
        self.app = self._closing(self.app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", LingeringTransport(transport, self, self._end)))
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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the server's own text
        """Answer a request that cannot be read as HTTP, and close the connection."""
        state = self.conn.our_state
        if state in (h11.IDLE, h11.SEND_RESPONSE):
            status, headers, body = malformed_request(self.conn.fault, is_body=state is h11.SEND_RESPONSE)
            metrics.answered("other", NO_ROUTE, status, 0.0)
            reason = HTTPStatus(status).phrase.encode()
            head = h11.Response(status_code=status, headers=[*headers, CLOSE], reason=reason)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _closing(self, app: Any) -> ASGIApp:
        """The app, whose answer before the end of a large body is the last one of its connection."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            cycle = self.cycle

            async def closing(message: Message) -> None:
                if message["type"] == "http.response.start" and cycle.more_body and _is_large(scope):
                    message["headers"] = [*message.get("headers", ()), CLOSE]
                await send(message)

            await app(scope, receive, closing)

        return answer

    def _end(self) -> bool:
        """Whether the client may still send; the app is notified that it has gone."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        return self.conn.their_state is h11.ERROR or (self.cycle is not None and self.cycle.more_body)

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


def _is_large(scope: Scope) -> bool:
    """Whether the request's body has, or may have, more than MOST_UNREAD bytes."""
    headers = Headers(scope=scope)
    declared = headers.get("content-length", "")
    return "transfer-encoding" in headers or (declared.isdecimal() and int(declared) > MOST_UNREAD)


class Server(uvicorn.Server):
    """At SIGTERM it serves on for `drain_s`, not ready, and then takes no more; a second signal ends that."""

    def __init__(self, config: uvicorn.Config, *, drain_s: float) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._leave_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and never look again for garbage in what the app is made of: it would hold up requests."""
        await super().startup(sockets)
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if sig != signal.SIGTERM or self._leave_at is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        log.info("told to end: /readyz says so for %g s, then no more is taken", self._drain_s)
        self.lifespan.state[LEAVING].begun = True
        self._leave_at = time.monotonic() + self._drain_s

    async def on_tick(self, counter: int) -> bool:
        """Part of uvicorn's loop, ten times a second."""
        if self._leave_at is not None and not self.should_exit and time.monotonic() >= self._leave_at:
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)


def server_options(**more: Any) -> uvicorn.Config:
    """Options of the HTTP server; `more` names the app, host and port."""
    return uvicorn.Config(
        http=BoundedProtocol,
        ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
        server_header=False,
        # Nothing of a request is logged: ids in paths and cursors are no one else's business.
        access_log=False,
        **more,
    )
