"""HEAD and OPTIONS of every address, so that no route has to say them."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.operations import Operations

# Of a request's state: whether the client wants the head of the answer alone.
HEAD_ALONE = "head_alone"
# What the router finds, for those who look at the request afterwards.
FOUND = ("route", "path_params")


def wants_head_alone(scope: Scope) -> bool:
    """Whether the request is a HEAD: its answer's body is dropped, and need not be made."""
    return bool(scope.get("state", {}).get(HEAD_ALONE))


class Methods:
    """ASGI middleware: a HEAD is a GET whose body the server drops, an OPTIONS is answered with `Allow`.

    An OPTIONS needs no key. For an address of no route it is left to the router, as anything else.
    """

    def __init__(self, app: ASGIApp, operations: Callable[[], Operations]) -> None:
        self.app, self._operations = app, operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if method == "OPTIONS":
            path: str = scope["path"]
            known = self._operations()
            methods = known.all_methods if path == "*" else known.methods_at(path)
            if methods:
                answer = Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(methods)})
                await answer(scope, receive, send)
                return
        if method != "HEAD":
            await self.app(scope, receive, send)
            return
        # The server knows the request as a HEAD: it sends no body, whatever it is given.
        as_get: Scope = {**scope, "method": "GET"}
        as_get.setdefault("state", {})[HEAD_ALONE] = True
        try:
            await self.app(as_get, receive, send)
        finally:
            scope.update({name: as_get[name] for name in FOUND if name in as_get})
