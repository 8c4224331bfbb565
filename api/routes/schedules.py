"""Schedules: a producer's own batches that repeat."""

import uuid
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.authentication import ceilings_of
from api.dependencies import AdminId, IdempotentSession, ProducerId, ServicesDep, Transaction
from api.limits.reachable import unreachable_fault
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import LINK_SECONDS
from api.routes.webhooks import require_own_webhook
from api.schemas import (
    ComingRun,
    RunView,
    ScheduleRequest,
    ScheduleView,
    view_coming,
    view_run,
    view_schedule,
)
from cutout.enums import PRIORITIES
from cutout.models import Run, Schedule
from cutout.schedules import manage
from cutout.schedules.schedule_errors import InvalidScheduleError

router = v1_router("/v1/schedules", "schedules")

# A producer's: each costs the dispatcher a look at its time.
MOST_SCHEDULES = 100
COMING, MOST_COMING = 10, 100
LATEST, MOST_LATEST = 20, 100


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=problems("invalid-schedule", "above-ceiling", "invalid-webhook", "too-many-schedules"),
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
    require_own_webhook(services.settings, asked.webhook_url)
    if fault := unreachable_fault(services.settings, [asked.manifest_url]):
        raise InvalidScheduleError("source", fault)
    ceilings = ceilings_of(request)
    ceilings.require_priority(PRIORITIES[asked.priority])
    ceilings.require_weight(asked.weight)
    if _count(session, producer_id) >= MOST_SCHEDULES:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "too-many-schedules",
            f"you have {MOST_SCHEDULES} schedules, no more are taken; remove one first",
        )
    schedule = manage.add(session, asked.to_new_schedule(producer_id))
    response.headers["Location"] = f"/v1/schedules/{schedule.id}"
    session.refresh(schedule)
    return view_schedule(schedule)


@router.get("")
def get_all(session: Transaction, producer_id: ProducerId) -> list[ScheduleView]:
    """Your schedules by name, at most a hundred."""
    return [view_schedule(schedule) for schedule in manage.listed(session, producer_id)]


@router.get("/{schedule_id}")
def get(schedule_id: uuid.UUID, session: Transaction, producer_id: ProducerId) -> ScheduleView:
    """A schedule as it was ordered, and when it fires next."""
    return view_schedule(_own(session, schedule_id, producer_id))


@router.delete(
    "/{schedule_id}", status_code=HTTPStatus.NO_CONTENT, openapi_extra=problems("paused-by-operator")
)
def delete(schedule_id: uuid.UUID, session: Transaction, producer_id: AdminId) -> None:
    """Remove a schedule. A run that is under way continues. One that an operator paused stays."""
    manage.remove(session, _going(session, schedule_id, producer_id).id)


@router.post("/{schedule_id}/pause")
def pause(schedule_id: uuid.UUID, session: IdempotentSession, producer_id: AdminId) -> ScheduleView:
    """Fire no further run; one that is under way continues. Nothing changes if it is paused already."""
    schedule = _own(session, schedule_id, producer_id)
    manage.pause(session, schedule.id)
    session.refresh(schedule)
    return view_schedule(schedule)


@router.post("/{schedule_id}/resume", openapi_extra=problems("paused-by-operator"))
def resume(schedule_id: uuid.UUID, session: IdempotentSession, producer_id: AdminId) -> ScheduleView:
    """Fire again, from now on: runs that fell into the pause are not made up for.

    What an operator paused, an operator lets go on.
    """
    schedule = _own(session, schedule_id, producer_id)
    manage.resume(session, schedule)
    session.refresh(schedule)
    return view_schedule(schedule)


@router.post(
    "/{schedule_id}/run",
    status_code=HTTPStatus.CREATED,
    openapi_extra=problems("fired-already", "paused-by-operator"),
)
def run(
    schedule_id: uuid.UUID,
    session: IdempotentSession,
    producer_id: AdminId,
    *,
    accept_shrunk_source: Annotated[
        bool, Query(description="Believe a source that has lost most of its pictures")
    ] = False,
) -> RunView:
    """Fire one run now, beside those of the clock, in the same window and budgets."""
    schedule = _going(session, schedule_id, producer_id)
    run_id = manage.run_now(session, schedule.id, accept_shrunk_source=accept_shrunk_source)
    if run_id is None:
        raise ProblemError(
            HTTPStatus.CONFLICT, "fired-already", "a run was fired at this very instant; look at its runs"
        )
    return view_run(session.get_one(Run, run_id))


@router.get("/{schedule_id}/next")
def get_next(
    schedule_id: uuid.UUID,
    session: Transaction,
    producer_id: ProducerId,
    count: Annotated[int, Query(ge=1, le=MOST_COMING)] = COMING,
) -> list[ComingRun]:
    """The coming runs; of a paused schedule those that would be."""
    schedule = _own(session, schedule_id, producer_id)
    return [view_coming(one, schedule.zone) for one in manage.coming_runs(session, schedule, count)]


@router.get("/{schedule_id}/runs")
def get_runs(
    schedule_id: uuid.UUID,
    session: Transaction,
    producer_id: ProducerId,
    count: Annotated[int, Query(ge=1, le=MOST_LATEST)] = LATEST,
) -> list[RunView]:
    """The latest runs, the newest first."""
    schedule = _own(session, schedule_id, producer_id)
    return [view_run(one) for one in manage.latest_runs(session, schedule.id, count)]


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
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "unknown-schedule",
            f"you have no schedule {schedule_id}",
            field="schedule_id",
        )
    return schedule


def _going(session: Session, schedule_id: uuid.UUID, producer_id: uuid.UUID) -> Schedule:
    """The producer's schedule, locked; raises PausedByOperatorError if an operator paused it."""
    schedule = _own(session, schedule_id, producer_id)
    session.refresh(schedule, with_for_update=True)
    manage.require_no_operators_pause(schedule)
    return schedule


def _count(session: Session, producer_id: uuid.UUID) -> int:
    counted = select(func.count()).where(Schedule.producer_id == producer_id, Schedule.removed_at.is_(None))
    return session.scalar(counted) or 0
