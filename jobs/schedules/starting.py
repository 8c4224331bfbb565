"""Beginning runs that were fired: one of a schedule at a time, each with a batch that its source fills."""

import uuid
from dataclasses import replace

from sqlalchemy import func, select, true, update
from sqlalchemy.orm import Session, aliased

from jobs.blocking import is_suspended
from jobs.ingest.requests import request_ingest
from jobs.models import SCHEDULES, Run, Schedule
from jobs.schedules.budgets import budget_of
from jobs.schedules.errors import InvalidScheduleError
from jobs.schedules.local_time import reading_at, zone_of
from jobs.schedules.nights import keep_to, window_of
from jobs.schedules.orders import Options
from jobs.schedules.words import UNDER_WAY, Overlap, RunState

# At a time, so that whatever else is to be done about runs comes in between.
MOST_STARTED = 20

OVERLAPPED = "another run of its schedule was under way; overlap is skip"
OTHER = aliased(Run)
OTHER_IS_UNDER_WAY = (
    select(OTHER.id).where(OTHER.schedule_id == Schedule.id, OTHER.state.in_(UNDER_WAY)).exists()
)
SKIP_OVERLAPPING = (
    update(Run)
    .where(
        Run.state == RunState.WAITING,
        Run.schedule_id == Schedule.id,
        Schedule.overlap == Overlap.SKIP,
        OTHER_IS_UNDER_WAY.correlate(Schedule),
    )
    .values(state=RunState.SKIPPED, note=OVERLAPPED, finished_at=func.now())
    .returning(Run.id)
    .execution_options(synchronize_session=False)
)
ITS_FIRST = (
    select(Run.id)
    .where(Run.schedule_id == Schedule.id, Run.state == RunState.WAITING)
    .order_by(Run.fire_at)
    .limit(1)
    .lateral()
)
STARTABLE = (
    select(ITS_FIRST.c.id)
    .join_from(Schedule, ITS_FIRST, true())
    .where(~OTHER_IS_UNDER_WAY, ~is_suspended(SCHEDULES.c.producer_id))
)


def skip_overlapping(session: Session) -> int:
    """End runs that fired while another of their schedule is under way, where that is the policy."""
    return len(session.scalars(SKIP_OVERLAPPING).all())


def startable(session: Session) -> list[uuid.UUID]:
    """The first waiting run of each schedule that has none under way, some at a time."""
    return list(session.scalars(STARTABLE.limit(MOST_STARTED)))


def start(session: Session, run_id: uuid.UUID) -> None:
    """Begin a waiting run in the caller's transaction: its batch, window, budget and the ingest to fill it.

    Of two who do so for one schedule, the other's transaction fails on the index of runs under way.
    """
    run = session.scalar(
        select(Run).where(Run.id == run_id, Run.state == RunState.WAITING).with_for_update(skip_locked=True)
    )
    if run is None:
        return
    schedule = session.get_one(Schedule, run.schedule_id)
    try:
        _begin(session, run, schedule)
    except InvalidScheduleError as error:
        run.state, run.note, run.finished_at = RunState.FAILED, str(error), session.scalar(select(func.now()))


def _begin(session: Session, run: Run, schedule: Schedule) -> None:
    now = session.scalars(select(func.now())).one()
    window, day = window_of(schedule), reading_at(run.fire_at, zone_of(schedule.zone))
    order = replace(
        Options.of(schedule.options).order(f"{schedule.name} {day:%Y-%m-%d %H:%M}"),
        budget=budget_of(session, schedule, run),
        producer_id=schedule.producer_id,
        schedule_id=schedule.id,
        shrinks_to=0.0 if run.even_if_shrunk else schedule.shrinks_to,
    )
    run.batch_id, run.started_at = request_ingest(session, schedule.source, order), now
    run.state = RunState.INGESTING
    if window is not None:
        opening = window.at(now)
        keep_to(session, run.batch_id, opening, schedule)
        run.closes_at = opening.closes_at
