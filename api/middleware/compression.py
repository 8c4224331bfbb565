"""Compression of answers by gzip, for clients that take it. Large pieces are compressed on other threads."""

import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.media_types import takes_gzip
from api.services import Services
from cutout.models.ingests import NOBODY
from cutout.producers.api_keys import KnownKey

# A smaller answer fits into a packet as it is.
LEAST_BYTES = 1024
# Of 200 jobs, 408 kB, level 1 makes 23 kB in 0.8 ms, level 6 20 kB in 2.2 ms.
LEVEL = 1
# Takes some 0.3 ms. A thread for less would take longer to begin than to compress.
INLINE_BYTES = 128 * 1024
# A manifest as it came in may be compressed already.
AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")
NOT_MODIFIED = 304


class Compression:
    """ASGI middleware. The framework's own one does not read weights, and says nothing at a 304."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        responder: ASGIApp
        if takes_gzip(Headers(scope=scope)):
            responder = _Packed(self.app, scope)
        else:
            responder = IdentityResponder(self.app, LEAST_BYTES, exclude_content_types=AS_THEY_ARE)

        async def with_vary(message: Message) -> None:
            # The answer that a 304 stands for may have been compressed.
            if message["type"] == "http.response.start" and message["status"] == NOT_MODIFIED:
                MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
            await send(message)

        await responder(scope, receive, with_vary)


class _Packed(GZipResponder):
    """Compresses large pieces in the producer's turn; a whole answer without one stays as it is."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        super().__init__(app, LEAST_BYTES, LEVEL, exclude_content_types=AS_THEY_ARE)
        self._scope = scope
        self._begun = False

    async def apply_compression(self, body: bytes, *, more_body: bool) -> bytes:
        """The compressed piece, or the whole answer as it is."""
        is_whole = not self._begun and not more_body
        self._begun = True
        if len(body) < INLINE_BYTES:
            return self._compress_body(body, more_body)
        services: Services = self._scope["app"].state.services
        owner, threads = self._owner(), services.compressions
        if is_whole and (owner is None or not threads.is_free_for(owner)):
            return body
        if owner is None:
            return self._compress_body(body, more_body)
        return await threads.finish(owner, self._compress_body, body, more_body)

    def _owner(self) -> uuid.UUID | None:
        """The producer of the key or of a page's viewer, NOBODY for an operator; None for a stranger."""
        state: dict[str, Any] = self._scope.get("state", {})
        known: KnownKey | None = state.get("key")
        if known is not None:
            return known.producer_id
        viewer = state.get("viewer")
        found: uuid.UUID | None = None if viewer is None else viewer.producer_id or NOBODY
        return found
