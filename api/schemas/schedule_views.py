"""Schedules and their runs as their producer sees them."""

import uuid
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from cutout.enums import AtWindowEnd, CatchUp, Overlap, Priority, ReturnForm, RunState
from cutout.models import Run, Schedule
from cutout.schedules.definition import Options
from cutout.schedules.manage import is_paused
from cutout.schedules.missed_runs import Firing
from cutout.status.producer_texts import text_for_producer


class ScheduleView(BaseModel):
    """A schedule as it was ordered. `next_due_at` is `next_fire_at` and its jitter; neither while paused."""

    id: uuid.UUID
    name: str
    manifest_url: str
    cron: str
    zone: str
    window: str | None
    at_window_end: AtWindowEnd
    return_form: list[ReturnForm]
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
    created_at: datetime
    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    next_fire_at: datetime | None
    next_due_at: datetime | None


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


def view_schedule(schedule: Schedule) -> ScheduleView:
    options = Options.of(schedule.options)
    start, end = schedule.window_start, schedule.window_end
    waits = is_paused(schedule)
    copied: dict[str, Any] = {
        name: getattr(schedule, name) for name in ScheduleView.model_fields if hasattr(schedule, name)
    }
    return ScheduleView(
        **copied
        | {
            "manifest_url": schedule.source,
            "window": f"{start:%H:%M}-{end:%H:%M}" if start and end else None,
            "return_form": list(options.forms),
            "priority": Priority(options.priority).name.lower(),
            "weight": options.weight,
            "budget": schedule.run_budget,
            "reuse": options.reuse,
            "encoding": options.encoding,
            "map": dict(options.columns),
            "delimiter": options.delimiter,
            "many": options.many,
            "include": list(options.include),
            "exclude": list(options.exclude),
            "next_fire_at": None if waits else schedule.next_fire_at,
            "next_due_at": None if waits else schedule.next_due_at,
        }
    )


def view_run(run: Run) -> RunView:
    fields = {name: getattr(run, name) for name in RunView.model_fields if hasattr(run, name)}
    url = f"/v1/schedules/{run.schedule_id}/runs/{run.id}/report"
    if run.note:
        fields["note"] = text_for_producer(run.note)
    return RunView(**fields, report_url=url if run.report_key else None)


def view_coming(run: Firing, zone: str) -> ComingRun:
    return ComingRun(fire_at=run.fire_at, local=run.fire_at.astimezone(ZoneInfo(zone)), due_at=run.due_at)
