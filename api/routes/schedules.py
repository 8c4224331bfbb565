"""Schedules: a producer's own batches that repeat."""

import uuid
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.authentication import asked_by, ceilings_of
from api.bodies.strict_json import read_model, validated
from api.dependencies import AdminId, IdempotentSession, ProducerId, ServicesDep, Transaction
from api.etag import NOT_MODIFIED, answer, require_match, revised_etag
from api.idempotency import begin_effect
from api.live.cursors import (
    Cursor,
    Limit,
    moment_cursor,
    page_cursor,
    read_moment_cursor,
    read_page_cursor,
)
from api.media_types import JSON, require_kind
from api.openapi import MERGE_PATCH, changes_what_was_seen, merge_patch_of, problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import LINK_SECONDS
from api.routes.webhooks import require_own_webhook
from api.schemas import (
    ComingRunList,
    RunList,
    RunView,
    ScheduleList,
    SchedulePatch,
    ScheduleRequest,
    ScheduleView,
    view_coming,
    view_run,
    view_schedule,
)
from api.schemas.patches import Patch
from api.services import Services
from cutout.actions import schedules as actions
from cutout.enums import PRIORITIES
from cutout.models import Run, Schedule
from cutout.schedules import manage
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.status.reachable import unreachable_fault

router = v1_router("/v1/schedules", "schedules")

# A producer's: each costs the dispatcher a look at its time.
MOST_SCHEDULES = 100
COMING, LATEST = 10, 20


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=problems(
        "invalid-schedule", "schedule-exists", "above-ceiling", "invalid-webhook", "too-many-schedules"
    ),
)
def create(
    asked: ScheduleRequest,
    request: Request,
    session: IdempotentSession,
    services: ServicesDep,
    producer_id: AdminId,
    *,
    response: Response,
) -> ScheduleView:
    """Repeat a batch of a manifest's address. It fires from now on."""
    _check(request, services, asked)
    if _count(session, producer_id) >= MOST_SCHEDULES:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "too-many-schedules",
            f"you have {MOST_SCHEDULES} schedules, no more are taken; remove one first",
        )
    schedule = actions.add_schedule(session, asked_by(request), asked.to_new_schedule(producer_id))
    response.headers["Location"] = f"/v1/schedules/{schedule.id}"
    return _renewed(response, session, schedule)


@router.get("", openapi_extra=problems("wrong-cursor"))
def get_all(
    session: Transaction, producer_id: ProducerId, limit: Limit = 50, cursor: Cursor = None
) -> ScheduleList:
    """Your schedules by name, at most a hundred in all."""
    after = None if cursor is None else read_page_cursor(cursor, "schedules")
    found = manage.listed(session, producer_id, after=after, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return ScheduleList(
        data=[view_schedule(schedule) for schedule in page],
        next_cursor=page_cursor(page[-1].id, "schedules") if more else None,
    )


@router.get("/{schedule_id}", response_model=ScheduleView, responses=NOT_MODIFIED)
def get(schedule_id: uuid.UUID, request: Request, session: Transaction, producer_id: ProducerId) -> Response:
    """A schedule as it was ordered, and when it fires next."""
    schedule = _own(session, schedule_id, producer_id)
    view = view_schedule(schedule).model_dump_json()
    return answer(request, view, revised_etag(schedule.revision, view))


@router.patch(
    "/{schedule_id}",
    response_model=ScheduleView,
    openapi_extra=merge_patch_of(SchedulePatch)
    | changes_what_was_seen("invalid-schedule", "schedule-exists", "above-ceiling", "invalid-webhook"),
)
async def change(
    schedule_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: AdminId
) -> Response:
    """Change any member of a schedule: what is left out stays, null clears. What it has seen is kept.

    With another `cron`, `zone` or `jitter_seconds` it fires from now on. A run that is under way continues as
    it was ordered, and so does a pause.
    """
    require_kind(request, MERGE_PATCH, JSON)
    asked = await read_model(request, SchedulePatch)
    return await services.threads.run(
        producer_id, _change, request, services, schedule_id, producer_id, asked
    )


def _change(
    request: Request, services: Services, schedule_id: uuid.UUID, producer_id: uuid.UUID, asked: Patch
) -> Response:
    with begin_effect(request, services.engine) as session:
        schedule = _locked(request, session, schedule_id, producer_id)
        if asked.model_fields_set:
            members = asked.applied_to(ScheduleRequest.of(schedule))
            if not members.get("outputs") and "file_name" not in asked.model_fields_set:
                # A template of file names goes with the outputs that it was for.
                members["file_name"] = None
            wanted = validated(ScheduleRequest, members)
            _check(request, services, wanted)
            actions.change_schedule(session, asked_by(request), schedule, wanted.to_new_schedule(producer_id))
            session.refresh(schedule)
        view = view_schedule(schedule).model_dump_json()
        return Response(view, media_type=JSON, headers={"ETag": revised_etag(schedule.revision, view)})


@router.delete(
    "/{schedule_id}",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=changes_what_was_seen("paused-by-operator"),
)
def delete(schedule_id: uuid.UUID, request: Request, session: Transaction, producer_id: AdminId) -> None:
    """Remove a schedule. A run that is under way continues. One that an operator paused stays."""
    schedule = _locked(request, session, schedule_id, producer_id)
    manage.require_no_operators_pause(schedule)
    actions.remove_schedule(session, asked_by(request), schedule)


@router.post("/{schedule_id}/pause", openapi_extra=changes_what_was_seen())
def pause(
    schedule_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    producer_id: AdminId,
    response: Response,
) -> ScheduleView:
    """Fire no further run; one that is under way continues. Nothing changes if it is paused already."""
    schedule = _locked(request, session, schedule_id, producer_id)
    actions.pause_schedule(session, asked_by(request), schedule)
    return _renewed(response, session, schedule)


@router.post("/{schedule_id}/resume", openapi_extra=changes_what_was_seen("paused-by-operator"))
def resume(
    schedule_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    producer_id: AdminId,
    response: Response,
) -> ScheduleView:
    """Fire again, from now on: runs that fell into the pause are not made up for.

    What an operator paused, an operator lets go on.
    """
    schedule = _locked(request, session, schedule_id, producer_id)
    actions.resume_schedule(session, asked_by(request), schedule)
    return _renewed(response, session, schedule)


@router.post("/{schedule_id}/skip", openapi_extra=changes_what_was_seen())
def skip(
    schedule_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    producer_id: AdminId,
    response: Response,
) -> ScheduleView:
    """Skip the next run; those after it fire as ever. Nothing changes if it is skipped or paused already."""
    schedule = _locked(request, session, schedule_id, producer_id)
    actions.skip_run(session, asked_by(request), schedule, schedule.next_fire_at)
    return _renewed(response, session, schedule)


@router.post("/{schedule_id}/restore", openapi_extra=changes_what_was_seen("skipped-by-operator"))
def restore(
    schedule_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    producer_id: AdminId,
    response: Response,
) -> ScheduleView:
    """Fire the next run after all, which was to be skipped. Nothing changes if it was not.

    What an operator skipped, an operator lets start.
    """
    schedule = _locked(request, session, schedule_id, producer_id)
    actions.restore_run(session, asked_by(request), schedule, schedule.next_fire_at)
    return _renewed(response, session, schedule)


@router.post(
    "/{schedule_id}/run",
    status_code=HTTPStatus.CREATED,
    openapi_extra=changes_what_was_seen("fired-already", "paused-by-operator"),
)
def run(
    schedule_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    producer_id: AdminId,
    *,
    accept_shrunk_source: Annotated[
        bool, Query(description="Believe a source that has lost most of its pictures")
    ] = False,
) -> RunView:
    """Fire one run now, beside those of the clock, in the same window and budgets."""
    schedule = _locked(request, session, schedule_id, producer_id)
    manage.require_no_operators_pause(schedule)
    run_id = actions.run_schedule(
        session, asked_by(request), schedule, accept_shrunk_source=accept_shrunk_source
    )
    if run_id is None:
        raise ProblemError(
            HTTPStatus.CONFLICT, "fired-already", "a run was fired at this very instant; look at its runs"
        )
    return view_run(session.get_one(Run, run_id))


@router.get("/{schedule_id}/next", openapi_extra=problems("wrong-cursor"))
def get_next(
    schedule_id: uuid.UUID,
    session: Transaction,
    producer_id: ProducerId,
    limit: Limit = COMING,
    cursor: Cursor = None,
) -> ComingRunList:
    """The coming runs; of a paused schedule those that would be."""
    schedule = _own(session, schedule_id, producer_id)
    query = f"coming runs {schedule_id}"
    after = None if cursor is None else read_moment_cursor(cursor, query)
    found = manage.coming_runs(session, schedule, limit + 1, after)
    more = len(found) > limit
    return ComingRunList(
        data=[view_coming(one, schedule.zone) for one in found[:limit]],
        next_cursor=moment_cursor(found[limit - 1].fire_at, query) if more else None,
    )


@router.get("/{schedule_id}/runs", openapi_extra=problems("wrong-cursor"))
def get_runs(
    schedule_id: uuid.UUID,
    session: Transaction,
    producer_id: ProducerId,
    limit: Limit = LATEST,
    cursor: Cursor = None,
) -> RunList:
    """The latest runs, the newest first."""
    schedule = _own(session, schedule_id, producer_id)
    query = f"runs {schedule_id}"
    before = None if cursor is None else read_moment_cursor(cursor, query)
    found = manage.latest_runs(session, schedule.id, limit + 1, before)
    more = len(found) > limit
    return RunList(
        data=[view_run(one) for one in found[:limit]],
        next_cursor=moment_cursor(found[limit - 1].fire_at, query) if more else None,
    )


@router.get(
    "/{schedule_id}/runs/{run_id}/report",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems("no-report"),
)
def get_report(
    schedule_id: uuid.UUID,
    run_id: uuid.UUID,
    session: Transaction,
    services: ServicesDep,
    producer_id: ProducerId,
    *,
    form: Annotated[Literal["json", "html"], Query(alias="format")] = "json",
) -> RedirectResponse:
    """Redirect to the report of a run that has ended, good for five minutes."""
    _own(session, schedule_id, producer_id)
    found = session.scalar(select(Run.report_key).where(Run.id == run_id, Run.schedule_id == schedule_id))
    if found is None:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no-report",
            f"the run {run_id} has no report yet; look again once it has ended",
        )
    key = found.removesuffix("json") + form
    return RedirectResponse(
        services.bucket.presign_public(key, seconds=LINK_SECONDS), headers={"Cache-Control": "no-store"}
    )


def _own(session: Session, schedule_id: uuid.UUID, producer_id: uuid.UUID) -> Schedule:
    schedule = session.scalar(
        select(Schedule).where(
            Schedule.id == schedule_id, Schedule.producer_id == producer_id, Schedule.removed_at.is_(None)
        )
    )
    if schedule is None:
        raise _unknown(schedule_id)
    return schedule


def _unknown(schedule_id: uuid.UUID) -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND,
        "unknown-schedule",
        f"you have no schedule {schedule_id}",
        field="schedule_id",
    )


def _locked(request: Request, session: Session, schedule_id: uuid.UUID, producer_id: uuid.UUID) -> Schedule:
    """The producer's schedule, locked; a problem 412 if it is not as the request's `If-Match` has it."""
    schedule = _own(session, schedule_id, producer_id)
    session.refresh(schedule, with_for_update=True)
    if schedule.removed_at is not None:
        raise _unknown(schedule_id)
    require_match(request, revision=schedule.revision)
    return schedule


def _check(request: Request, services: Services, asked: ScheduleRequest) -> None:
    """Raise a problem 422 for what this installation or the producer's ceilings do not allow."""
    require_own_webhook(services.settings, asked.webhook_url)
    if fault := unreachable_fault(services.settings, [asked.manifest_url]):
        raise InvalidScheduleError("source", fault)
    ceilings = ceilings_of(request)
    ceilings.require_priority(PRIORITIES[asked.priority])
    ceilings.require_weight(asked.weight)


def _renewed(response: Response, session: Session, schedule: Schedule) -> ScheduleView:
    """The schedule's view after an action changed its row."""
    session.refresh(schedule)
    return _tagged(response, schedule)


def _tagged(response: Response, schedule: Schedule) -> ScheduleView:
    """The schedule's view, with its ETag in the response."""
    view = view_schedule(schedule)
    response.headers["ETag"] = revised_etag(schedule.revision, view.model_dump_json())
    return view


def _count(session: Session, producer_id: uuid.UUID) -> int:
    counted = select(func.count()).where(Schedule.producer_id == producer_id, Schedule.removed_at.is_(None))
    return session.scalar(counted) or 0
