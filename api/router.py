"""Routes under /v1: who asks is known before the body is read, and a POST can safely be sent again."""

import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, nullcontext
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from api.authentication import LOOKING, authenticate, require, usual_scope
from api.idempotency import answer_once
from api.limits.sizes import USUAL_BYTES
from api.middleware.body_limit import MOST_BYTES
from api.problems import ProblemError
from api.services import Services

JSON = "application/json"
LONGEST_KIND = 300


class Route(APIRoute):
    """A route of ours. What only looks is FastAPI's own; what changes something is guarded."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.methods is None or self.methods <= LOOKING:
            return handle
        takes_json = self.body_field is not None

        async def guarded(request: Request) -> Response:
            services: Services = request.app.state.services
            known = await authenticate(request, services)
            producer_id, reading = known.producer_id, services.reading_time
            with _place_for_body(request, producer_id), ExitStack() as request.state.places:
                if _is_large(request):
                    await reading.turn(producer_id)
                    request.state.places.enter_context(reading.refusals_counted(producer_id))
                require(known, usual_scope(request))
                if takes_json:
                    require_kind(request, JSON)
                receive = reading.paced(request.receive, producer_id)
                return await answer_once(Request(request.scope, receive), handle)

        return guarded


def _place_for_body(request: Request, producer_id: uuid.UUID) -> AbstractContextManager[None]:
    """Hold a slot while the body arrives and its request is carried out; a problem 429 beyond the share."""
    services: Services = request.app.state.services
    most_bytes: int = getattr(request.state, MOST_BYTES)
    if not most_bytes:
        return nullcontext()
    return (services.uploads if _is_large(request) else services.small_bodies).held(producer_id)


def _is_large(request: Request) -> bool:
    most_bytes: int = getattr(request.state, MOST_BYTES)
    return most_bytes > USUAL_BYTES


def v1_router(prefix: str, *tags: str) -> APIRouter:
    """A router for the routes below `prefix`."""
    return APIRouter(prefix=prefix, tags=list(tags), route_class=Route)


def require_kind(request: Request, *taken: str) -> str:
    """The media type of the body, which must be one of these; a problem 415 if it is not.

    A request without a body has the first.
    """
    headers = request.headers
    # Taking its parameters apart costs far more than their bytes; a boundary has 70 characters at most.
    if len(headers.get("content-type", "")) > LONGEST_KIND:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"the Content-Type has more than {LONGEST_KIND} characters; send {' or '.join(taken)}",
            field="Content-Type",
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind and headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return taken[0]
    if kind not in taken:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"the Content-Type is {kind[:100]!r}; send {' or '.join(taken)}",
            field="Content-Type",
        )
    return kind
