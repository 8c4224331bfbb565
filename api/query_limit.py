"""Refuses queries of more fields than any route reads, before they are taken apart on the event loop."""

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

# A manifest takes 50 patterns to include, as many to exclude, and some twenty options.
MOST_FIELDS = 200


class QueryLimit:
    """ASGI middleware. How many bytes a query may have the server says: it is part of the request's head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= MOST_FIELDS:
            text = f"the query has more than {MOST_FIELDS} fields; leave out what the route does not know"
            answer = problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", text)
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)
