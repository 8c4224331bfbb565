"""Now: is anything wrong, what is under way, and what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from console.changes.notice import read_notice
from console.console import Installation
from console.failures import today
from console.pages import Asked, screen
from console.priced import Answer
from console.screens.batch_rows import HAS_ENDED, IS_OPEN, BatchRow, counted, read_rows
from console.screens.last_hour import chart_hour, ends_of
from console.screens.limit import recent_calls
from console.screens.router import screen_router
from console.screens.unsaved_results import unsaved_results
from console.views import View
from cutout.enums import QueueState, State, Step
from cutout.models import SCHEDULES
from cutout.monitoring.overview import Overview
from cutout.schedules.lateness import Lateness

router = screen_router()

MOST_OPEN = 12
MOST_ENDED = 5
MOST_SCHEDULES = 5
OVERDUE_S = 60.0
OPEN_BATCHES = "/console/batches?show=open"
TROUBLE = "/console/trouble"


@dataclass(frozen=True, slots=True)
class Wrong:
    """A thing that is wrong, what to do about it, and where to see it: its address and its name."""

    text: str
    remedy: str = ""
    href: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """A number, the address of its rows, and when it was counted, if not for this page."""

    name: str
    value: str
    href: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NextRun:
    """A schedule and when it fires next."""

    name: str
    due_at: datetime
    zone: str
    is_skipped: bool


@screen(router, "/console")
async def now(asked: Asked) -> View:
    """Is anything wrong, and what is under way?"""

    def look(connection: Connection) -> tuple[Sequence[BatchRow], Sequence[BatchRow], list[NextRun]]:
        return (
            read_rows(connection, asked.viewer, IS_OPEN, limit=MOST_OPEN + 1),
            read_rows(connection, asked.viewer, HAS_ENDED, limit=MOST_ENDED),
            _next_runs(connection, asked),
        )

    found, ended, schedules = await asked.read(look)
    rows = await counted(asked, found[:MOST_OPEN])
    values = {
        "rows": rows,
        "ended": await counted(asked, ended),
        "more": len(found) > MOST_OPEN,
        "schedules": schedules,
        "notice": await read_notice(asked, "/console"),
        "base_url": asked.base_url,
    }
    console, producer_id, as_of = asked.console, asked.viewer.producer_id, None
    failed = await console.failed.get((today(), producer_id), soon=True)
    if producer_id is None:
        answer, recent = await console.installation(), recent_calls(console)
        state, as_of = answer.value, answer.at
        lifetime_s = console.handed.settings.result_lifetime_seconds
        minutes = recent.value.minutes if recent.value else ()
        values |= {
            "wrong": wrong_things(state, lifetime_s),
            "totals": [*totals(state.overview), *failed_today(failed)],
            "hour": chart_hour(minutes, "calls"),
            "recent": recent,
        }
    else:
        ends = ends_of(console, producer_id)
        values |= {
            "wrong": wrong_for_producer(rows),
            "totals": [*own_totals(rows), *failed_today(failed)],
            "hour": chart_hour(ends.value or (), "jobs"),
            "recent": ends,
        }
    return View("now.html", "Now", values, as_of=as_of)


def wrong_things(state: Installation, lifetime_s: float) -> list[Wrong]:
    """Faults of the installation, the worst first."""
    overview = state.overview
    wrong = [Wrong(f"{check.name}: {check.found}", check.remedy) for check in state.checks if not check.ok]
    unsaved = unsaved_results(overview, lifetime_s)
    if unsaved.late:
        minutes = max(overview.next_expiry_s or 0, 0) / 60
        text = (
            f"{unsaved.late:,} paid results are stored nowhere yet; the first expires in {minutes:,.0f} min"
        )
        wrong.insert(0, Wrong(text, "see that the bucket takes cutouts and that workers run"))
    if unsaved.are_slow:
        text = f"{unsaved.count:,} paid results wait for their copy, the oldest for {unsaved.age_s:,.0f} s"
        wrong.insert(0, Wrong(text, "see that the bucket answers, and that workers run"))
    held = {row.code: row.jobs - row.blocked for row in overview.held if row.jobs > row.blocked}
    if held:
        codes = ", ".join(f"{code} {number:,}" for code, number in sorted(held.items()))
        wrong.append(Wrong(f"{_jobs(sum(held.values()))} held for a person: {codes}", "", TROUBLE, "Trouble"))
    paused = [row for row in overview.accounts if row.pause_code]
    wrong += [
        Wrong(f"the account {row.name} is paused: {row.pause_code}", "see `cutout limits`") for row in paused
    ]
    late = sum(overview.late_schedules[lateness] for lateness in Lateness)
    if late:
        wrong.append(Wrong(f"{late:,} schedules are late or will be", "see `cutout doctor`"))
    if overview.overdue_s > OVERDUE_S:
        text = f"a job has been due for {overview.overdue_s:,.0f} s without becoming ready"
        wrong.append(Wrong(text, "see that a dispatcher leads"))
    return wrong


def totals(overview: Overview) -> list[Total]:
    """Numbers of the whole installation."""

    def jobs(*, state: State | None = None, step: Step | None = None) -> int:
        return sum(
            row.jobs
            for row in overview.jobs
            if (state is None or row.state == state)
            and (step is None or row.step == step)
            and row.queue_state != QueueState.BLOCKED
        )

    held = sum(row.jobs - row.blocked for row in overview.held)
    credits_ = [row.credits for row in overview.accounts if row.credits is not None]
    rate = sum(row.calls_per_second or 0 for row in overview.accounts)
    found = [
        Total("waiting", f"{jobs(state=State.QUEUED, step=Step.CALL):,}", OPEN_BATCHES),
        Total("calls out", f"{overview.calls.get('out', 0):,}", "/console/limit"),
        Total("copies", f"{jobs(step=Step.COPY):,}", "/console/trouble/at-risk"),
        Total("held", f"{held:,}", TROUBLE),
        Total("calls a second", f"{rate:,.1f}", "/console/limit"),
    ]
    return [*found, Total("credits left", f"{sum(credits_):,.0f}", "/console/money")] if credits_ else found


def failed_today(failed: Answer[int] | None) -> list[Total]:
    """The number of today's failures, in UTC."""
    if failed is None:
        return []
    return [Total("failed today (UTC)", f"{failed.value:,}", "/console/trouble/failed", failed.at)]


def wrong_for_producer(rows: Sequence[BatchRow]) -> list[Wrong]:
    """Open batches that a producer has to see to."""
    return [
        Wrong(
            f"{row.name}: {_jobs(row.number(State.HELD))} held for a person",
            "",
            f"/console/batches/{row.id}?state=held#jobs",
            row.name,
        )
        for row in rows
        if row.number(State.HELD)
    ]


def own_totals(rows: Sequence[BatchRow]) -> list[Total]:
    """Numbers of a producer's open batches."""
    return [
        Total(name, f"{sum(row.number(state) for row in rows):,}", href)
        for name, state, href in (
            ("waiting", State.QUEUED, OPEN_BATCHES),
            ("running", State.RUNNING, OPEN_BATCHES),
            ("held", State.HELD, TROUBLE),
            ("succeeded", State.SUCCEEDED, OPEN_BATCHES),
            ("failed", State.FAILED, OPEN_BATCHES),
        )
    ]


def _next_runs(connection: Connection, asked: Asked) -> list[NextRun]:
    fires: list[ColumnElement[bool]] = [SCHEDULES.c.paused_at.is_(None), SCHEDULES.c.removed_at.is_(None)]
    fires.append(SCHEDULES.c.paused_by_operator_at.is_(None))
    if not asked.viewer.is_operator:
        fires.append(SCHEDULES.c.producer_id == asked.viewer.producer_id)
    is_skipped = SCHEDULES.c.skips_at.is_not_distinct_from(SCHEDULES.c.next_fire_at)
    columns = SCHEDULES.c.name, SCHEDULES.c.next_due_at, SCHEDULES.c.zone, is_skipped
    found = select(*columns).where(*fires).order_by(SCHEDULES.c.next_due_at).limit(MOST_SCHEDULES)
    return [NextRun(*row) for row in connection.execute(found)]


def _jobs(number: int) -> str:
    return "1 job is" if number == 1 else f"{number:,} jobs are"
