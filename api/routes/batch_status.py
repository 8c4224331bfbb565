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
from api.dependencies import AtHand, ProducerId
from api.etag import NOT_MODIFIED, Wait, answer, etag_of, is_news_awaited
from api.limits.producer_slots import AGAIN_AFTER_S
from api.live.batch_cache import CountedBatch
from api.live.cursors import read_event_id
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import unknown_batch
from api.schemas import BatchView
from api.services import Services
from cutout.enums import FINAL_STATES, ReturnForm

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
    " `finished`: the batch, at the end",
    "content": {
        "text/event-stream": {
            # Of each event, as OpenAPI 3.1 has it of a stream.
            "schema": {
                "title": "BatchEvent",
                "oneOf": [
                    _event("progress", BATCH),
                    _event("job", ENDED_JOB, "id"),
                    _event("finished", BATCH, "id"),
                ],
            },
        }
    },
}


async def _stream_place(at_hand: AtHand, producer_id: ProducerId) -> AsyncIterator[None]:
    """A place for a stream until its last byte is sent."""
    places = at_hand.events.places
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
    batch_id: uuid.UUID, request: Request, at_hand: AtHand, producer_id: ProducerId, wait: Wait = 0
) -> Response:
    """A batch with its jobs counted by state.

    With `wait` the answer comes when nothing of it moves any more (all jobs are final or held), or after so
    many seconds.
    """
    counted = await own_batch(at_hand, batch_id, producer_id)
    if wait and counted.moving and is_news_awaited(request, _etag(counted)):
        rests = await at_hand.watch.batch_rests(request, producer_id, batch_id, wait)
        counted = await own_batch(at_hand, batch_id, producer_id, since=time.monotonic() if rests else 0)
    body = counted.view().model_dump_json()
    return answer(request, body, _etag(counted), look_again_s=counted.look_again_s)


@router.get(
    "/{batch_id}/events",
    response_class=EventSourceResponse,
    responses={200: EVENTS, 204: {"description": "You had its `finished` event"}},
    openapi_extra=problems("too-many-streams", "wrong-cursor"),
)
async def get_events(
    batch_id: uuid.UUID,
    request: Request,
    at_hand: AtHand,
    producer_id: ProducerId,
    _place: StreamPlace,
    last_event_id: Annotated[
        str | None, Header(max_length=LONGEST_EVENT_ID, description="Go on behind this event")
    ] = None,
) -> Response:
    """Follow a batch: each job as it ends, in that order, from the first one on or behind `Last-Event-ID`.

    The stream ends with the batch, or once your key is refused. Told once; after a connection that broke, the
    last events may come again.
    """
    counted = await own_batch(at_hand, batch_id, producer_id)
    after, ended = (None, False) if last_event_id is None else read_event_id(last_event_id)
    if ended and after is not None and counted.status.finished_at == after.finished_at:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return EventSourceResponse(
        at_hand.events.of(batch_id, producer_id, after, partial(is_still_valid, request, at_hand)),
        ping=KEEP_ALIVE_EVERY_S,
        send_timeout=SEND_WITHIN_S,
    )


async def own_batch(
    at_hand: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, *, since: float = 0.0
) -> CountedBatch:
    """The producer's batch, counted within the last second and not before `since`, on the monotonic clock.

    Raises a problem 404 if there is none such.
    """
    counted = await at_hand.counting.of(batch_id, producer_id, since=since)
    if counted is None:
        raise unknown_batch(batch_id)
    return counted


def _etag(counted: CountedBatch) -> str:
    # What is left changes with every second, though nothing happens.
    return etag_of(counted.view().model_dump_json(exclude={"eta_seconds"}))
