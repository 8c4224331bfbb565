"""Firing of due schedules: each run exactly once, whichever processes fire and however often.

The time is Postgres's, read once. One statement inserts the runs and advances the schedules, so a crash
leaves nothing half done; it advances a schedule only from the time that was read, and a run has a unique key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    DateTime,
    Row,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    not_,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from cutout.enums import CatchUp, RunState
from cutout.models import RUNS, SCHEDULES, constant
from cutout.models.database import Database
from cutout.producers.producers import is_suspended
from cutout.schedules.cron import cron_of
from cutout.schedules.missed_runs import DueRuns, Firing, Recurrence, find_due_runs
from cutout.schedules.schedule_errors import InvalidScheduleError

MOST_SCHEDULES = 1000
# Of all schedules in one step: the leader's other duties must not wait while a long outage is caught up.
MOST_RUNS = 10_000

FIRES_ON = and_(
    SCHEDULES.c.paused_at.is_(None),
    SCHEDULES.c.paused_by_operator_at.is_(None),
    SCHEDULES.c.removed_at.is_(None),
    not_(is_suspended(SCHEDULES.c.producer_id)),
)
DUE = (
    select(
        SCHEDULES.c.id,
        SCHEDULES.c.cron,
        SCHEDULES.c.zone,
        SCHEDULES.c.jitter_seconds,
        SCHEDULES.c.grace_seconds,
        SCHEDULES.c.catch_up,
        SCHEDULES.c.next_fire_at,
        SCHEDULES.c.next_due_at,
        SCHEDULES.c.skips_at,
        func.now().label("now"),
    )
    .where(SCHEDULES.c.next_due_at <= func.now(), FIRES_ON)
    .order_by(SCHEDULES.c.next_due_at)
    .limit(MOST_SCHEDULES)
)

WHEN = DateTime(timezone=True)
MOVES = (
    func.jsonb_to_recordset(bindparam("moves", type_=JSONB))
    .table_valued(
        column("id", Uuid),
        column("was_at", WHEN),
        column("skips_at", WHEN),
        column("fire_at", WHEN),
        column("due_at", WHEN),
    )
    .render_derived(name="move", with_types=True)
)
FIRED = (
    func.jsonb_to_recordset(bindparam("fired", type_=JSONB))
    .table_valued(
        column("schedule_id", Uuid),
        column("fire_at", WHEN),
        column("due_at", WHEN),
        column("state", Text),
        column("note", Text),
    )
    .render_derived(name="fired", with_types=True)
)
MOVED = (
    update(SCHEDULES)
    .where(
        SCHEDULES.c.id == MOVES.c.id,
        SCHEDULES.c.next_fire_at == MOVES.c.was_at,
        # A skip that was accepted since the runs were read would be passed over.
        SCHEDULES.c.skips_at.is_not_distinct_from(MOVES.c.skips_at),
        FIRES_ON,
    )
    .values(
        next_fire_at=func.coalesce(MOVES.c.fire_at, SCHEDULES.c.next_fire_at),
        next_due_at=func.coalesce(MOVES.c.due_at, SCHEDULES.c.next_due_at),
        # A schedule that never fires again would stay due forever.
        paused_at=case((MOVES.c.fire_at.is_(None), func.now()), else_=null()),
    )
    .returning(SCHEDULES.c.id)
    .cte("moved")
)
FIRE = (
    insert(RUNS)
    .from_select(
        ["schedule_id", "fire_at", "due_at", "state", "note", "finished_at"],
        select(
            FIRED.c.schedule_id,
            FIRED.c.fire_at,
            FIRED.c.due_at,
            FIRED.c.state,
            FIRED.c.note,
            case((FIRED.c.state != constant(RunState.WAITING), func.now()), else_=null()),
        ).join(MOVED, MOVED.c.id == FIRED.c.schedule_id),
    )
    .on_conflict_do_nothing()
    .returning(RUNS.c.id)
)


@dataclass(frozen=True, slots=True)
class _Planned:
    """The runs to insert for one due schedule and its next time; `otherwise` is the state of skipped runs."""

    schedule: Row[Any]
    found: DueRuns
    otherwise: RunState

    def move(self) -> dict[str, str | None]:
        upcoming, skips_at = self.found.next, self.schedule.skips_at
        return {
            "id": str(self.schedule.id),
            "skips_at": skips_at and skips_at.isoformat(),
            "was_at": self.schedule.next_fire_at.isoformat(),
            "fire_at": upcoming.fire_at.isoformat() if upcoming else None,
            "due_at": upcoming.due_at.isoformat() if upcoming else None,
        }

    def fired(self) -> Iterator[dict[str, str | None]]:
        for run in self.found.fires:
            yield {
                "schedule_id": str(self.schedule.id),
                "fire_at": run.fire_at.isoformat(),
                "due_at": run.due_at.isoformat(),
                "state": self.otherwise if run.skipped else RunState.WAITING,
                "note": run.skipped,
            }


def fire(database: Database) -> int:
    """Insert the runs of all due schedules; returns their number, skipped ones included."""
    due = database.execute(DUE).all()
    if not due:
        return 0
    planned = list(_plan_all(due))
    moves = [one.move() for one in planned]
    fired = [run for one in planned for run in one.fired()]
    return len(database.scalars(FIRE, {"moves": moves, "fired": fired}).all())


def _plan_all(due: Sequence[Row[Any]]) -> Iterator[_Planned]:
    seen = 0
    for schedule in due:
        planned = _plan(schedule)
        yield planned
        seen += planned.found.seen
        if seen >= MOST_RUNS:
            return


def _plan(schedule: Row[Any]) -> _Planned:
    try:
        recurrence = Recurrence(
            schedule.id,
            cron_of(schedule.cron, schedule.zone),
            schedule.jitter_seconds,
            schedule.grace_seconds,
            CatchUp(schedule.catch_up),
            schedule.skips_at,
        )
    except InvalidScheduleError as error:
        # A time zone that no longer exists: the other schedules fire all the same.
        run = Firing(schedule.next_fire_at, schedule.next_due_at, f"{error}; the schedule is paused")
        return _Planned(schedule, DueRuns([run], None), RunState.FAILED)
    return _Planned(
        schedule, find_due_runs(recurrence, schedule.next_fire_at, schedule.now), RunState.SKIPPED
    )
