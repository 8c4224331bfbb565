"""Refuses queries of more fields than any route reads, before they are taken apart on the event loop."""

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

# A manifest takes 50 patterns to include, as many to exclude, and some twenty options.
MOST_FIELDS = 200
# Filters of a list. Patterns of a manifest may take all of a head.
MOST_BYTES = 8 * 1024
LOOKING = frozenset({"GET", "HEAD"})


class QueryLimit:
    """ASGI middleware. How many bytes a query may have the server says: it is part of the request's head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        excess = _excess(scope) if scope["type"] == "http" else None
        if excess is None:
            await self.app(scope, receive, send)
            return
        text = f"the query has more than {excess}; leave out what the route does not know"
        await problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", text)(scope, receive, send)


def _excess(scope: Scope) -> str | None:
    query: bytes = scope["query_string"]
    if query.count(b"&") >= MOST_FIELDS:
        return f"{MOST_FIELDS} fields"
    if scope["method"] in LOOKING and len(query) > MOST_BYTES:
        return f"{MOST_BYTES} bytes"
    return None
