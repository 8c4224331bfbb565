"""A producer's jobs and batches by pages."""

import re
import uuid
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AwareDatetime, BeforeValidator

from api.dependencies import AtHand, ProducerId
from api.live.cursors import page_cursor, read_page_cursor
from api.openapi import problems
from api.router import v1_router
from api.schemas import BatchList, Code, ExternalId, JobList, summarize, view_job
from cutout.enums import State
from cutout.status.pages import MOST_A_PAGE, Order, Place, Wanted, list_batches, list_jobs

router = v1_router("/v1")

MOST_FILTERS = 20
CURSOR_LENGTH = 64

Limit = Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="The most that a page holds")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH, description="`next_cursor` of the page before, same filters")
]


def _written_out(value: object) -> object:
    # Numbers would be taken for seconds or milliseconds, as they come.
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("must be a date and time with its zone, such as 2026-11-22T09:15:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]


async def _wanted(
    *,
    state: Annotated[
        list[State] | None, Query(max_length=MOST_FILTERS, description="May be repeated: any of them")
    ] = None,
    batch: Annotated[uuid.UUID | None, Query(description="Only jobs of this batch")] = None,
    external_id: Annotated[ExternalId | None, Query(description="Only jobs of this id of yours")] = None,
    code: Annotated[
        list[Code] | None,
        Query(max_length=MOST_FILTERS, description="Only with this `error.code`; may be repeated"),
    ] = None,
    created_after: Annotated[Moment | None, Query(description="At this time or later")] = None,
    created_before: Annotated[Moment | None, Query(description="Before this time")] = None,
) -> Wanted:
    return Wanted(tuple(state or ()), batch, external_id, tuple(code or ()), created_after, created_before)


@router.get("/jobs", tags=["jobs"], openapi_extra=problems("wrong-cursor"))
async def get_jobs(
    at_hand: AtHand,
    producer_id: ProducerId,
    *,
    wanted: Annotated[Wanted, Depends(_wanted)],
    order: Order = Order.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobList:
    """Your jobs, the newest first unless asked otherwise.

    A page may have fewer jobs than `limit`, or none, though more follow: after 20,000 that do not fit the
    filters it ends, so that each page costs as little as the first. Go on while there is a `next_cursor`.
    """
    query = f"jobs {order} {wanted}"
    place = Place(order, None if cursor is None else read_page_cursor(cursor, query), limit)
    page = await at_hand.looks.slow(
        lambda connection: list_jobs(connection, producer_id, wanted, place), of=producer_id
    )
    return JobList(data=[view_job(job) for job in page.rows], next_cursor=_next(page.next_after, query))


@router.get("/batches", tags=["batches"], openapi_extra=problems("wrong-cursor"))
async def get_batches(
    at_hand: AtHand,
    producer_id: ProducerId,
    order: Order = Order.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> BatchList:
    """Your batches, without their counts: `GET /v1/batches/{batch_id}` has those."""
    query = f"batches {order}"
    place = Place(order, None if cursor is None else read_page_cursor(cursor, query), limit)
    page = await at_hand.looks.quick(
        lambda connection: list_batches(connection, producer_id, place), of=producer_id
    )
    return BatchList(
        data=[summarize(batch) for batch in page.rows], next_cursor=_next(page.next_after, query)
    )


def _next(after: uuid.UUID | None, query: str) -> str | None:
    return None if after is None else page_cursor(after, query)
