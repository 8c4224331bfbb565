"""Batches: count their jobs, and follow them."""

import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from sse_starlette import EventSourceResponse

from api.authentication import is_still_valid
from api.dependencies import ProducerId, ServicesDep
from api.etag import NOT_MODIFIED, Wait, answer, is_news_awaited, revised_etag
from api.limits.producer_slots import AGAIN_AFTER_S
from api.live.batch_cache import CountedBatch
from api.live.cursors import Sent, read_event_id
from api.middleware.methods import wants_head_alone
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import unknown_batch
from api.schemas import BatchView
from api.services import Services
from cutout.enums import FINAL_STATES, ReturnForm
from cutout.status.finished import Position

router = v1_router("/v1/batches", "batches")

KEEP_ALIVE_EVERY_S = 15
# A client that takes nothing for so long is cut off.
SEND_WITHIN_S = 20
LONGEST_EVENT_ID = 64


def _event(name: str, data: dict[str, Any], *more: str) -> dict[str, Any]:
    """The schema of one kind of event; its data is JSON in one line."""
    return {
        "type": "object",
        "required": ["event", "data", *more],
        "properties": {
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
            "id": {"type": "string", "description": "For `Last-Event-ID`", "maxLength": LONGEST_EVENT_ID},
        },
    }


BATCH = {"$ref": "#/components/schemas/BatchView"}
ENDED_JOB = {
    "type": "object",
    "required": ["id", "external_id", "return_form", "state", "code"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "external_id": {"type": ["string", "null"]},
        "return_form": {"type": "string", "enum": [*ReturnForm]},
        "state": {"type": "string", "enum": sorted(FINAL_STATES)},
        "code": {"type": ["string", "null"]},
    },
}
EVENTS: dict[str, Any] = {
    "description": "`progress`: the batch, when it changed, at most once a second; `job`: one that ended;"
    " `finished`: the batch, at the end of its jobs; `rendered`: the batch, at the end of its outputs",
    "content": {
        "text/event-stream": {
            # Of each event, as OpenAPI 3.1 has it of a stream.
            "schema": {
                "title": "BatchEvent",
                "oneOf": [
                    _event("progress", BATCH),
                    _event("job", ENDED_JOB, "id"),
                    _event("finished", BATCH, "id"),
                    _event("rendered", BATCH, "id"),
                ],
            },
        }
    },
}


async def _stream_place(
    request: Request, services: ServicesDep, producer_id: ProducerId
) -> AsyncIterator[None]:
    """A place for a stream until its last byte is sent; a HEAD needs none."""
    if wants_head_alone(request.scope):
        yield
        return
    places = services.events.places
    if places.full:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too-many-streams",
            f"{places.most} streams are open; poll the batch, or try again later",
            headers={"Retry-After": str(AGAIN_AFTER_S)},
        )
    with places.held(producer_id):
        yield


# scope="request": over when the answer has been sent, or could not be.
StreamPlace = Annotated[None, Depends(_stream_place, scope="request")]


@router.get("/{batch_id}", response_model=BatchView, responses=NOT_MODIFIED)
async def get(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId, wait: Wait = 0
) -> Response:
    """A batch with its jobs counted by state.

    With `wait` the answer comes when nothing of it moves any more (all jobs are final or held), or after so
    many seconds.
    """
    counted = await own_batch(services, batch_id, producer_id)
    if wait and counted.moving and is_news_awaited(request, etag_of_batch(counted)):
        rests = await services.watch.batch_rests(request, producer_id, batch_id, wait)
        counted = await own_batch(services, batch_id, producer_id, since=time.monotonic() if rests else 0)
    body = counted.view().model_dump_json()
    return answer(request, body, etag_of_batch(counted))


@router.get(
    "/{batch_id}/events",
    response_class=EventSourceResponse,
    responses={200: EVENTS, 204: {"description": "You had its `rendered` event"}},
    openapi_extra=problems("too-many-streams", "wrong-cursor"),
)
async def get_events(
    batch_id: uuid.UUID,
    request: Request,
    services: ServicesDep,
    producer_id: ProducerId,
    _place: StreamPlace,
    last_event_id: Annotated[
        str | None, Header(max_length=LONGEST_EVENT_ID, description="Go on behind this event")
    ] = None,
) -> Response:
    """Follow a batch: each job as it ends, in that order, from the first one on or behind `Last-Event-ID`.

    The stream ends with the batch's outputs, or once your key is refused. Told once; after a connection that
    broke, the last events may come again.
    """
    counted = await own_batch(services, batch_id, producer_id)
    after = None if last_event_id is None else read_event_id(last_event_id)
    if after is not None and _had_all(counted, *after):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    events = services.events.of(batch_id, producer_id, after, partial(is_still_valid, request, services))
    return EventSourceResponse(
        _no_events() if wants_head_alone(request.scope) else events,
        ping=KEEP_ALIVE_EVERY_S,
        send_timeout=SEND_WITHIN_S,
    )


async def _no_events() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for event in nothing:
        yield event


async def own_batch(
    services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, *, since: float = 0.0
) -> CountedBatch:
    """The producer's batch, counted within the last second and not before `since`, on the monotonic clock.

    Raises a problem 404 if there is none such.
    """
    counted = await services.counting.of(batch_id, producer_id, since=since)
    if counted is None:
        raise unknown_batch(batch_id)
    return counted


def _had_all(counted: CountedBatch, after: Position, sent: Sent) -> bool:
    """Whether the client had the last event, and nothing has begun since."""
    status = counted.status
    return sent is Sent.RENDERED and status.is_rendered and status.finished_at == after.finished_at


def etag_of_batch(counted: CountedBatch) -> str:
    """The batch's ETag: its revision, and what is shown of it."""
    # What is left changes with every second, though nothing happens.
    guesses = {"eta_seconds", "outputs_eta_seconds", "poll_after_seconds"}
    return revised_etag(counted.status.revision, counted.view().model_dump_json(exclude=guesses))
