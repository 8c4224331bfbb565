"""What a run may cost: its own budget, and what is left of the month's."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from jobs.models import Batch, Run, Schedule
from jobs.schedules.local_time import instant_of, reading_at, zone_of
from jobs.schedules.nights import HAS_MORE


def budget_of(session: Session, schedule: Schedule, run: Run) -> int | None:
    """The most credits that the run's calls may cost; None without a bound."""
    budgets = [schedule.run_budget]
    if schedule.month_budget is not None:
        spent = _spent_in_its_month(session, schedule, run)
        budgets.append(max(schedule.month_budget - spent, 0))
    return min((budget for budget in budgets if budget is not None), default=None)


def _spent_in_its_month(session: Session, schedule: Schedule, run: Run) -> int:
    """By the schedule's batches of the calendar month, by its zone, in which the run fires.

    A batch that still has something to do counts with its whole budget: it may yet spend that, unless it was
    cancelled.
    """
    begins_at, ends_at = _month(run.fire_at, zone_of(schedule.zone))
    may_spend = and_(HAS_MORE, Batch.cancelled_at.is_(None))
    counted = case((may_spend, func.greatest(Batch.budget, Batch.spent)), else_=Batch.spent)
    its = (Run.schedule_id == schedule.id, Run.fire_at >= begins_at, Run.fire_at < ends_at)
    spent = session.scalar(select(func.sum(counted)).join(Run, Run.batch_id == Batch.id).where(*its))
    return int(spent or 0)


def _month(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    there = reading_at(moment, zone)
    begins = there.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = begins.year * 12 + begins.month
    ends = begins.replace(year=months // 12, month=months % 12 + 1)
    return instant_of(begins, zone), instant_of(ends, zone)
