"""Start of fired runs: one of a schedule at a time, each with a batch that its source fills."""

import uuid
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, select, true, update
from sqlalchemy.orm import Session, aliased

from cutout.enums import UNDER_WAY, Overlap, RunState
from cutout.ingest.pending import request_ingest
from cutout.models import SCHEDULES, Batch, Run, Schedule
from cutout.outputs.options import OutputDefaults
from cutout.producers.producers import is_suspended
from cutout.queue.batch_progress import HAS_MORE
from cutout.schedules.batch_windows import set_window, window_of
from cutout.schedules.definition import Options
from cutout.schedules.local_time import instant_of, reading_at, zone_of
from cutout.schedules.schedule_errors import InvalidScheduleError

# Per step, so that the other work on runs gets its turn in between.
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
    """Skip runs that fired while another run of their schedule is under way, where `overlap` is skip."""
    return len(session.scalars(SKIP_OVERLAPPING).all())


def startable(session: Session) -> list[uuid.UUID]:
    """The first waiting run of each schedule that has none under way, MOST_STARTED at most."""
    return list(session.scalars(STARTABLE.limit(MOST_STARTED)))


def start(session: Session, run_id: uuid.UUID, defaults: OutputDefaults) -> None:
    """Start a waiting run in the caller's transaction: its batch, window, budget and ingest.

    `defaults` complete the schedule's options for outputs.
    If two processes do so for one schedule, one transaction fails on the unique index of runs under way.
    """
    run = session.scalar(
        select(Run).where(Run.id == run_id, Run.state == RunState.WAITING).with_for_update(skip_locked=True)
    )
    if run is None:
        return
    schedule = session.get_one(Schedule, run.schedule_id)
    try:
        _begin(session, run, schedule, defaults)
    except InvalidScheduleError as error:
        run.state, run.note, run.finished_at = RunState.FAILED, str(error), session.scalar(select(func.now()))


def _begin(session: Session, run: Run, schedule: Schedule, defaults: OutputDefaults) -> None:
    now = session.scalars(select(func.now())).one()
    window, day = window_of(schedule), reading_at(run.fire_at, zone_of(schedule.zone))
    stored = Options.of(schedule.options)
    options = replace(
        stored.ingest_options(f"{schedule.name} {day:%Y-%m-%d %H:%M}"),
        outputs=stored.outputs.complete(defaults),
        budget=budget_of(session, schedule, run),
        producer_id=schedule.producer_id,
        metadata=schedule.metadata_,
        schedule_id=schedule.id,
        min_source_share=0.0 if run.accept_shrunk_source else schedule.min_source_share,
    )
    run.batch_id, run.started_at = request_ingest(session, schedule.source, options), now
    run.state = RunState.INGESTING
    if window is not None:
        opening = window.at(now)
        set_window(session, run.batch_id, opening, schedule)
        run.closes_at = opening.closes_at


def budget_of(session: Session, schedule: Schedule, run: Run) -> int | None:
    """The most credits that the run's calls may cost; None for no limit."""
    budgets = [schedule.run_budget]
    if schedule.month_budget is not None:
        spent = _spent_in_its_month(session, schedule, run)
        budgets.append(max(schedule.month_budget - spent, 0))
    return min((budget for budget in budgets if budget is not None), default=None)


def _spent_in_its_month(session: Session, schedule: Schedule, run: Run) -> int:
    """Credits of the schedule's batches in the calendar month, in its zone, in which the run fires.

    An unfinished batch that was not cancelled counts with its whole budget, which it may still spend.
    """
    begins_at, ends_at = _month(run.fire_at, zone_of(schedule.zone))
    may_spend = and_(HAS_MORE, Batch.cancelled_at.is_(None))
    counted = case((may_spend, func.greatest(Batch.budget, Batch.spent)), else_=Batch.spent)
    in_month = (Run.schedule_id == schedule.id, Run.fire_at >= begins_at, Run.fire_at < ends_at)
    spent = session.scalar(select(func.sum(counted)).join(Run, Run.batch_id == Batch.id).where(*in_month))
    return int(spent or 0)


def _month(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    there = reading_at(moment, zone)
    begins = there.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = begins.year * 12 + begins.month
    ends = begins.replace(year=months // 12, month=months % 12 + 1)
    return instant_of(begins, zone), instant_of(ends, zone)
