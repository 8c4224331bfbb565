"""Breaking a connection for real: the client must see no status line, or half a body.

ASGI has no way to close a connection without an answer, nor to say whether the client has closed it, so the
protocol puts both into each request's state.
"""

from asyncio import Transport
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CLOSE = "close_connection"
_IS_CLOSING = "connection_is_closing"


class ClosableProtocol(H11Protocol):
    """uvicorn's protocol, with the connection's end in the state of every request."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self.app_state = {**self.app_state, _CLOSE: transport.close, _IS_CLOSING: transport.is_closing}


def is_open(scope: Scope) -> bool:
    """Whether neither side has closed the request's connection."""
    is_closing: Callable[[], bool] = scope["state"][_IS_CLOSING]
    return not is_closing()


class Dropped(Response):
    """No answer at all: the connection closes and not one byte is sent."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await _close(scope, receive)


class DroppedMidway(Response):
    """The status line, the headers and half of the body; then the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _close(scope, receive)


async def _close(scope: Scope, receive: Receive) -> None:
    close: Callable[[], None] = scope["state"][_CLOSE]
    close()
    # uvicorn answers 500 for an app that returns before it has seen the connection go.
    while (await receive())["type"] != "http.disconnect":
        pass
