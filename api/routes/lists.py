"""A producer's jobs and batches by pages."""

import re
import uuid
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AwareDatetime, BeforeValidator
from sqlalchemy import Connection

from api.dependencies import Pace, ProducerId, ServicesDep
from api.live.cursors import Cursor, Limit, page_cursor, read_page_cursor
from api.openapi import problems
from api.router import v1_router
from api.routes.jobs import unknown_batch, view_for
from api.schemas import BatchList, Code, ExternalId, JobList, summarize
from api.schemas.action_views import ActionList, ActionRecordList, view_action, view_record
from api.schemas.batch_requests import BatchName
from cutout.enums import BatchState, OutputState, State
from cutout.status.action_log import ActionFilter, LoggedAction, find_actions
from cutout.status.action_status import ActionStatus, list_actions
from cutout.status.batch_status import is_batch_of
from cutout.status.pages import (
    BatchFilter,
    JobFilter,
    Order,
    Page,
    PageRequest,
    list_batches,
    list_jobs,
)

router = v1_router("/v1")

MOST_FILTERS = 20


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
    min_score: Annotated[
        float | None,
        Query(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="Only jobs whose cutout is at least so suspicious",
            examples=[0.5],
        ),
    ] = None,
    output_state: Annotated[
        list[OutputState] | None,
        Query(max_length=MOST_FILTERS, description="Only with an output in this state; may be repeated"),
    ] = None,
) -> JobFilter:
    return JobFilter(
        tuple(state or ()),
        batch,
        external_id,
        tuple(code or ()),
        created_after,
        created_before,
        min_score,
        tuple(output_state or ()),
    )


@router.get("/jobs", tags=["jobs"], openapi_extra=problems("wrong-cursor"))
async def get_jobs(
    services: ServicesDep,
    producer_id: ProducerId,
    pace: Pace,
    *,
    wanted: Annotated[JobFilter, Depends(_wanted)],
    order: Order = Order.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobList:
    """Your jobs, the newest first unless asked otherwise.

    A page may have fewer jobs than `limit`, or none, though more follow: after 20,000 that do not fit the
    filters it ends, so that each page costs as little as the first. Go on while there is a `next_cursor`.
    """
    query = f"jobs {order} {wanted}"
    place = PageRequest(order, None if cursor is None else read_page_cursor(cursor, query), limit)
    page = await services.looks.slow(
        lambda connection: list_jobs(connection, producer_id, wanted, place), of=producer_id
    )
    return JobList(
        data=[view_for(job, producer_id, pace) for job in page.rows],
        next_cursor=_next(page.next_after, query),
    )


@router.get("/batches", tags=["batches"], openapi_extra=problems("wrong-cursor"))
async def get_batches(
    services: ServicesDep,
    producer_id: ProducerId,
    *,
    name: Annotated[BatchName | None, Query(description="Only batches with exactly this name")] = None,
    state: Annotated[
        list[BatchState] | None, Query(max_length=MOST_FILTERS, description="May be repeated: any of them")
    ] = None,
    created_after: Annotated[Moment | None, Query(description="At this time or later")] = None,
    created_before: Annotated[Moment | None, Query(description="Before this time")] = None,
    order: Order = Order.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> BatchList:
    """Your batches, without their counts: `GET /v1/batches/{batch_id}` has those.

    A page may have fewer batches than `limit`, or none, though more follow: it ends after 20,000 that do not
    fit the filters, 2,000 with the filter `state`. Go on while there is a `next_cursor`.
    """
    wanted = BatchFilter(name, tuple(state or ()), created_after, created_before)
    query = f"batches {order} {wanted}"
    place = PageRequest(order, None if cursor is None else read_page_cursor(cursor, query), limit)
    page = await services.looks.slow(
        lambda connection: list_batches(connection, producer_id, wanted, place), of=producer_id
    )
    return BatchList(
        data=[summarize(batch) for batch in page.rows], next_cursor=_next(page.next_after, query)
    )


@router.get("/batches/{batch_id}/actions", tags=["batches"], openapi_extra=problems("wrong-cursor"))
async def get_actions(
    batch_id: uuid.UUID,
    services: ServicesDep,
    producer_id: ProducerId,
    *,
    order: Order = Order.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ActionList:
    """The changes of the whole batch that were asked for: cancel, retry, outputs, deletion."""
    query = f"actions {batch_id} {order}"
    place = PageRequest(order, None if cursor is None else read_page_cursor(cursor, query), limit)

    def look(connection: Connection) -> Page[ActionStatus]:
        if not is_batch_of(connection, batch_id, producer_id):
            raise unknown_batch(batch_id)
        return list_actions(connection, batch_id, place)

    page = await services.looks.quick(look, of=producer_id)
    return ActionList(
        data=[view_action(action) for action in page.rows], next_cursor=_next(page.next_after, query)
    )


@router.get("/actions", tags=["whoami"], openapi_extra=problems("wrong-cursor"))
async def get_records(
    services: ServicesDep,
    producer_id: ProducerId,
    *,
    batch: Annotated[uuid.UUID | None, Query(description="Only about this batch and its jobs")] = None,
    since: Annotated[Moment | None, Query(description="At this time or later")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ActionRecordList:
    """Changes of what is yours, by your keys or by the operator, the latest first.

    Every change has a record, but for the making of jobs and batches. Records are kept for a year or so.
    """
    query = f"records {batch} {since}"
    before = None if cursor is None else read_page_cursor(cursor, query)
    wanted = ActionFilter(producer_id, batch, since=since)

    def look(connection: Connection) -> list[LoggedAction]:
        return find_actions(connection, wanted, before=before, limit=limit + 1)

    found = await services.looks.slow(look, of=producer_id)
    page = found[:limit]
    more = page[-1].id if len(found) > limit else None
    return ActionRecordList(data=[view_record(action) for action in page], next_cursor=_next(more, query))


def _next(after: uuid.UUID | None, query: str) -> str | None:
    return None if after is None else page_cursor(after, query)
