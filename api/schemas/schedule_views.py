"""Schedules and their runs as their producer sees them."""

import uuid
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from api.schemas.fields import NextCursor
from api.schemas.schedule_requests import ScheduleRequest
from cutout.enums import AtWindowEnd, CatchUp, Forms, Overlap, ReturnForm, RunState
from cutout.models import Run, Schedule
from cutout.network.shown_urls import host_of, without_secrets
from cutout.schedules.manage import is_paused
from cutout.schedules.missed_runs import Firing
from cutout.schedules.skips import is_next_skipped
from cutout.status.producer_texts import text_for_producer


class ScheduleView(BaseModel):
    """A schedule as it was ordered. `next_due_at` is `next_fire_at` and its jitter; neither while paused.

    The run of `skips_at` is skipped when its time comes.

    `manifest_url` has no user, query and fragment, and of the webhook only the host is shown: they may hold
    secrets.
    """

    id: uuid.UUID
    name: str
    manifest_url: str
    cron: str
    zone: str
    window: str | None
    at_window_end: AtWindowEnd
    return_form: list[ReturnForm]
    forms: Forms | None
    full_size: bool | None
    outputs: list[str]
    file_name: str | None
    priority: str
    weight: float
    budget: int | None
    month_budget: int | None
    reuse: bool
    encoding: str | None
    map: dict[str, str]
    delimiter: str | None
    many: bool
    include: list[str]
    exclude: list[str]
    overlap: Overlap
    catch_up: CatchUp
    jitter_seconds: int
    grace_seconds: int
    min_source_share: float
    webhook_host: str | None
    metadata: dict[str, str]
    created_at: datetime
    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    next_fire_at: datetime | None
    next_due_at: datetime | None
    skips_at: datetime | None


class RunView(BaseModel):
    """One run: its time, its result, and the reason if it failed."""

    id: uuid.UUID
    fire_at: datetime
    fired_at: datetime
    state: RunState
    batch_id: uuid.UUID | None
    note: str | None
    counts: dict[str, int] | None
    started_at: datetime | None
    finished_at: datetime | None
    report_url: str | None


class ComingRun(BaseModel):
    """When a run is ordered for, in UTC and as the zone's clocks show it, and when it is due."""

    fire_at: datetime
    local: datetime
    due_at: datetime
    skipped: bool


class ScheduleList(BaseModel):
    """A page of schedules."""

    data: list[ScheduleView]
    next_cursor: NextCursor


class RunList(BaseModel):
    """A page of runs."""

    data: list[RunView]
    next_cursor: NextCursor


class ComingRunList(BaseModel):
    """A page of coming runs, which never end unless the cron expression does."""

    data: list[ComingRun]
    next_cursor: NextCursor


def view_schedule(schedule: Schedule) -> ScheduleView:
    waits = is_paused(schedule)
    shown = {name for name in ScheduleView.model_fields if hasattr(schedule, name)}
    copied: dict[str, Any] = {name: getattr(schedule, name) for name in shown}
    asked = {name: value for name, value in ScheduleRequest.of(schedule).items() if name != "webhook_url"}
    return ScheduleView(
        **copied
        | asked
        | {
            "manifest_url": without_secrets(schedule.source),
            "webhook_host": host_of(schedule.webhook_url) if schedule.webhook_url else None,
            "next_fire_at": None if waits else schedule.next_fire_at,
            "next_due_at": None if waits else schedule.next_due_at,
            # One whose time has passed is history.
            "skips_at": schedule.next_fire_at if is_next_skipped(schedule) else None,
        }
    )


def view_run(run: Run) -> RunView:
    fields = {name: getattr(run, name) for name in RunView.model_fields if hasattr(run, name)}
    url = f"/v1/schedules/{run.schedule_id}/runs/{run.id}/report"
    if run.note:
        fields["note"] = text_for_producer(run.note)
    return RunView(**fields, report_url=url if run.report_key else None)


def view_coming(run: Firing, zone: str) -> ComingRun:
    return ComingRun(
        fire_at=run.fire_at,
        local=run.fire_at.astimezone(ZoneInfo(zone)),
        due_at=run.due_at,
        skipped=run.skipped is not None,
    )
