"""Losses: paid results that are dropped without having become a cutout."""

from sqlalchemy import CTE, ColumnElement, FromClause, Select, func, select, update

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, JOBS, constant


def last_paid(jobs: FromClause, *which: ColumnElement[bool]) -> Select[int]:
    """Choose the last call of each of these jobs that was paid for: its result is the one at hand."""
    return (
        select(func.max(ATTEMPTS.c.id))
        .join(jobs, jobs.c.id == ATTEMPTS.c.job_id)
        .where(ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED), *which)
        .group_by(ATTEMPTS.c.job_id)
    )


def lose(paid: Select[int]) -> CTE:
    """Mark these calls as paid for nothing, those that are not yet."""
    return (
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id.in_(paid), ATTEMPTS.c.lost_at.is_(None))
        .values(lost_at=func.now())
        .cte("lost")
    )


def lose_results_of(*which: ColumnElement[bool]) -> CTE:
    """Mark the calls that paid for the results of these jobs, in the statement that drops their URLs.

    It sees the jobs as they were before that statement.
    """
    return lose(last_paid(JOBS, JOBS.c.result_url.is_not(None), *which))
