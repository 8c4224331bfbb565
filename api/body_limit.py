"""Cuts off request bodies that are larger than anything a route takes, before they fill a disk."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.manifests import is_manifest
from api.problems import ProblemError, problem


class BodyLimit:
    """ASGI middleware: at most `max_bytes` of body, by the declared length and by what really comes.

    A manifest, which goes to the bucket as it comes, may have `manifest_bytes`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, manifest_bytes: int) -> None:
        self.app, self.max_bytes, self.manifest_bytes = app, max_bytes, manifest_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        most = self._most(scope, headers.get(b"content-type", b"").decode("latin-1"))
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", _text(most))(
                scope, receive, send
            )
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", _text(most))
            return message

        await self.app(scope, counted, send)

    def _most(self, scope: Scope, media_type: str) -> int:
        is_batch = scope["method"] == "POST" and scope["path"].rstrip("/") == "/v1/batches"
        return self.manifest_bytes if is_batch and is_manifest(media_type) else self.max_bytes


def _text(most: int) -> str:
    return f"the request's body has more than {most} bytes, the limit"
