"""Cuts off request bodies that are larger than anything a route takes, before they fill a disk."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ProblemError, problem


class BodyLimit:
    """ASGI middleware: at most `max_bytes` of body, by the declared length and by what really comes."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", self._text())(
                scope, receive, send
            )
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.max_bytes:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", self._text())
            return message

        await self.app(scope, counted, send)

    def _text(self) -> str:
        return f"the request's body has more than {self.max_bytes} bytes, the limit"
