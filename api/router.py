"""Routes under /v1: who asks is known before the body is read, and a POST can safely be sent again."""

import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from api.authentication import LOOKING, authenticate, require, usual_scope
from api.idempotency import answer_once
from api.limits.sizes import USUAL_BYTES
from api.media_types import JSON, require_accepted, require_kind, require_plain
from api.middleware.body_limit import MOST_BYTES
from api.operations import operations_of
from api.services import Services

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A route of ours: who asks is known first, then that the query is one that it has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.methods is None or self.methods <= LOOKING:
            return self._checked(handle)
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

        return self._checked(guarded)

    def _checked(self, handle: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            services: Services = request.app.state.services
            await authenticate(request, services)
            operation = operations_of(request.app).at(self.path_format, request.method)
            operation.query.require_known(name for name, _ in request.query_params.multi_items())
            if operation.media_types:
                require_accepted(request, operation.media_types)
            if request.method not in LOOKING:
                require_plain(request)
            return await handle(request)

        return checked


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
