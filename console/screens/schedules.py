"""Schedules: the list, a calendar of runs, and a page of each with its next and last runs."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, func, select, true
from sqlalchemy.orm import Session

from console.changes.action_text import actions_on, shown_action
from console.changes.notice import read_notice
from console.changes.schedule import press_for, skip_press
from console.console import console_of
from console.faults import not_found
from console.pages import Asked, screen, viewer_of
from console.screens.calendar import CalendarDays, RunMark, Span, bounds_of, days_of
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from console.views import View
from cutout.enums import RunState
from cutout.models import PRODUCERS, RUNS, SCHEDULES, Run, Schedule
from cutout.network.shown_urls import without_secrets
from cutout.schedules.local_time import reading_at, zone_of
from cutout.schedules.manage import coming_runs, is_paused, latest_runs, listed
from cutout.schedules.report_publish import folder_of
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.schedules.skips import is_next_skipped
from cutout.status.producer_texts import text_for_producer

router = screen_router()

# Schedules of a page and of its calendar, runs of one of them in it, and runs of a schedule's own page.
A_PAGE = 20
MOST_RUNS = 1500
MOST_COMING = 10
RUNS_A_PAGE = 25
MOST_ACTIONS = 10
RUN_STATES = {state.value: state for state in RunState}


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule of the list, with its last run, and the button for its next one."""

    schedule: Schedule
    producer: str | None
    is_paused: bool
    last: RunState | None
    last_at: datetime | None
    skip: str

    @property
    def is_skipped(self) -> bool:
        return is_next_skipped(self.schedule)


@dataclass(frozen=True, slots=True)
class Coming:
    """A run that will fire: the instant, with jitter, and the reading of the schedule's clocks."""

    fire_at: datetime
    due_at: datetime
    reading: datetime
    is_skipped: bool


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run of the schedule's own page."""

    run: Run
    note: str


@screen(router, "/console/schedules")
async def schedules(asked: Asked) -> View:
    """Schedules with their last and next runs, and a week or month of them all."""
    after, span = asked.after(), asked.choice("view", Span) or Span.WEEK
    values = await asked.read(lambda connection: _look(connection, asked, span, after))
    values["notice"] = await read_notice(asked, "/console/schedules")
    return View("schedules.html", "Schedules", {**values, "span": span, "spans": list(Span), "after": after})


@screen(router, "/console/schedules/{schedule_id}")
async def schedule(asked: Asked) -> View:
    """One schedule: its next ten runs, its last ones, and their reports."""
    schedule_id, before = asked.id("schedule_id"), _moment(asked.text("before"))

    def look(connection: Connection) -> dict[str, Any] | None:
        with Session(connection, expire_on_commit=False) as session:
            found = session.get(Schedule, schedule_id)
            if found is None or not _may_see(asked.viewer, found):
                return None
            zone = zone_of(found.zone)
            # A removed one keeps its runs.
            next_ = [] if found.removed_at else coming_runs(session, found, MOST_COMING)
            runs = latest_runs(session, schedule_id, RUNS_A_PAGE + 1, before)
            name = connection.scalar(select(PRODUCERS.c.name).where(PRODUCERS.c.id == found.producer_id))
            session.expunge_all()
            return {
                "schedule": found,
                "producer": name if asked.viewer.is_operator else None,
                "is_paused": is_paused(found),
                "press": press_for(found, asked.viewer),
                "skip": skip_press(found, asked.viewer),
                "actions": [
                    shown_action(each, asked.viewer, schedule_id)
                    for each in actions_on(connection, schedule_id, MOST_ACTIONS)
                ],
                "coming": [
                    Coming(
                        each.fire_at, each.due_at, reading_at(each.fire_at, zone), each.skipped is not None
                    )
                    for each in next_
                ],
                "runs": [ShownRun(run, _note(run, asked.viewer)) for run in runs[:RUNS_A_PAGE]],
                "next": runs[RUNS_A_PAGE - 1].fire_at.isoformat() if len(runs) > RUNS_A_PAGE else None,
            }

    found = await asked.read(look)
    if found is None:
        raise not_found("such schedule")
    own = found["schedule"]
    source = own.source
    if not source.startswith("s3://"):
        source = without_secrets(source)
    found["notice"] = await read_notice(asked, f"/console/schedules/{schedule_id}")
    found["may_run"] = asked.viewer.may(Right.SPEND) and own.removed_at is None
    values = {**found, "source": source, "before": before, "base_url": asked.base_url}
    return View("schedule.html", own.name, values)


@router.get("/console/schedules/{schedule_id}/runs/{run_id}/report")
async def report(schedule_id: uuid.UUID, run_id: uuid.UUID, request: Request) -> Response:
    """Redirect to a run's report in the bucket, by a link that is good for some minutes."""
    console, viewer = console_of(request), viewer_of(request)
    which = [RUNS.c.id == run_id, RUNS.c.schedule_id == schedule_id, RUNS.c.report_key.is_not(None)]
    if not viewer.is_operator:
        which.append(SCHEDULES.c.producer_id == viewer.producer_id)
    kept = select(RUNS.c.id).join(SCHEDULES, SCHEDULES.c.id == RUNS.c.schedule_id).where(*which)
    found = await console.pool.read(lambda connection: connection.scalar(kept), of=viewer.producer_id)
    if found is None:
        raise not_found("such report")
    return RedirectResponse(
        console.handed.link(f"{folder_of(found)}/report.html"),
        status_code=HTTPStatus.SEE_OTHER,
        headers={"Cache-Control": "no-store"},
    )


def _look(connection: Connection, asked: Asked, span: Span, after: uuid.UUID | None) -> dict[str, Any]:
    with Session(connection, expire_on_commit=False) as session:
        found = listed(session, asked.viewer.producer_id, after=after, limit=A_PAGE + 1)
        session.expunge_all()
    shown = found[:A_PAGE]
    now = connection.scalars(select(func.now())).one()
    zones = sorted({each.zone for each in shown} | {"UTC"})
    zone = _zone(asked.text("zone"), shown)
    day = _day(asked.text("day")) or reading_at(now, zone).date()
    bounds = bounds_of(span, day, zone)
    runs = _runs(connection, shown, bounds)
    return {
        "rows": _rows(connection, shown, asked.viewer),
        "next": shown[-1].id if len(found) > A_PAGE else None,
        "zones": zones if zone.key in zones else [*zones, zone.key],
        "zone": zone.key,
        "bounds": bounds,
        "days": days_of(bounds, zone, shown, runs, now),
        "is_cut": len(runs) >= MOST_RUNS,
        "base_url": asked.base_url,
    }


def _rows(connection: Connection, shown: Sequence[Schedule], viewer: Viewer) -> list[ScheduleRow]:
    ids = [each.id for each in shown]
    last = (
        select(RUNS.c.state, RUNS.c.fire_at)
        .where(RUNS.c.schedule_id == SCHEDULES.c.id)
        .order_by(RUNS.c.fire_at.desc())
        .limit(1)
        .lateral("last")
    )
    lasts = {
        row.id: row
        for row in connection.execute(
            select(SCHEDULES.c.id, last.c.state, last.c.fire_at)
            .join_from(SCHEDULES, last, true())
            .where(SCHEDULES.c.id.in_(ids))
        )
    }
    owners = {each.producer_id for each in shown if each.producer_id}
    names: dict[uuid.UUID, str] = {}
    if viewer.is_operator and owners:
        found = connection.execute(select(PRODUCERS.c.id, PRODUCERS.c.name).where(PRODUCERS.c.id.in_(owners)))
        names = {row.id: row.name for row in found}
    rows = []
    for each in shown:
        own = lasts.get(each.id)
        state, at = (RunState(own.state), own.fire_at) if own else (None, None)
        owner = names.get(each.producer_id) if each.producer_id else None
        rows.append(ScheduleRow(each, owner, is_paused(each), state, at, skip_press(each, viewer)))
    return rows


def _runs(connection: Connection, shown: Sequence[Schedule], bounds: CalendarDays) -> list[RunMark]:
    """The runs of the calendar, of each schedule the newest MOST_RUNS / A_PAGE or more."""
    if not shown:
        return []
    latest = (
        select(RUNS.c.schedule_id, RUNS.c.fire_at, RUNS.c.state, RUNS.c.batch_id)
        .where(
            RUNS.c.schedule_id == SCHEDULES.c.id, RUNS.c.fire_at >= bounds.begin, RUNS.c.fire_at < bounds.end
        )
        .order_by(RUNS.c.fire_at.desc())
        .limit(MOST_RUNS // len(shown))
        .lateral("latest")
    )
    found = connection.execute(
        select(latest)
        .select_from(SCHEDULES.join(latest, true()))
        .where(SCHEDULES.c.id.in_([each.id for each in shown]))
        .order_by(latest.c.fire_at)
    )
    return [
        RunMark(schedule_id, at, RUN_STATES[state], batch_id) for schedule_id, at, state, batch_id in found
    ]


def _zone(asked: str, shown: Sequence[Schedule]) -> ZoneInfo:
    """The zone that was asked for, or the first schedule's."""
    for name in (asked, shown[0].zone if shown else ""):
        try:
            return zone_of(name)
        except InvalidScheduleError:
            continue
    return ZoneInfo("UTC")


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    # Months before and after it exist, too.
    return found if EARLIEST <= found <= LATEST else None


EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _may_see(viewer: Viewer, schedule: Schedule) -> bool:
    return viewer.is_operator or schedule.producer_id == viewer.producer_id


def _note(run: Run, viewer: Viewer) -> str:
    note = run.note or ""
    return note if viewer.is_operator else text_for_producer(note)
