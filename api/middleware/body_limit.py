"""Cuts off request bodies that are larger than the route takes, before they fill a disk or the memory."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies.manifests import is_manifest
from api.limits.sizes import LIST_BYTES, USUAL_BYTES
from api.problems import ProblemError, problem
from cutout.settings import Settings

ROOM_FOR_FIELDS = 64 * 1024
MULTIPART = "multipart/form-data"
ZIP = "application/zip"

# Of a request's state.
MOST_BYTES = "most_bytes"

Limit = Callable[[Scope, str], int]


def limits_of(settings: Settings) -> Limit:
    """Limits of a request's body in bytes, by its path and media type.

    FastAPI's own `max_body_size` knows the route alone: the same one takes a picture and a short text.
    """
    larger = {
        ("/v1/jobs", MULTIPART): settings.max_source_bytes + ROOM_FOR_FIELDS,
        ("/v1/batches", "application/json"): LIST_BYTES,
        ("/console/add", MULTIPART): settings.max_manifest_bytes + ROOM_FOR_FIELDS,
    }

    def limit(scope: Scope, kind: str) -> int:
        if scope["method"] == "POST" and scope["path"] == "/v1/batches" and is_manifest(kind):
            most = settings.max_manifest_bytes
            return min(most, settings.max_archive_bytes) if kind == ZIP else most
        return larger.get((scope["path"], kind), USUAL_BYTES)

    return limit


def _largest(headers: Headers, most: int) -> int:
    """The largest size that the body can have in bytes, 0 without a body."""
    # It comes before a length, which then says nothing (RFC 9112, 6.3).
    if "transfer-encoding" in headers:
        return most
    declared = headers.get("content-length", "")
    return min(int(declared), most) if declared.isdecimal() else 0


class BodyLimit:
    """ASGI middleware: no more of a body than `limit` says, by the declared length and by what comes."""

    def __init__(self, app: ASGIApp, limit: Limit) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The first of several is what the routes see.
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        most = self.limit(scope, kind)
        scope.setdefault("state", {})[MOST_BYTES] = _largest(headers, most)
        text = f"the request's body has more than {most} bytes, the limit here"
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            answer = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", text)
            await answer(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", text)
            return message

        await self.app(scope, counted, send)
