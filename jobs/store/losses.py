"""Losses: paid results that are dropped without having become a cutout."""

from sqlalchemy import CTE, ColumnElement, func, select, update

from jobs.models import ATTEMPTS, JOBS, constant
from jobs.states import AttemptOutcome


def lose_results_of(*which: ColumnElement[bool]) -> CTE:
    """Mark the calls that paid for the results of these jobs, in the statement that drops their URLs.

    It sees the jobs as they were before that statement. The result at hand is the last one paid for.
    """
    last_paid = (
        select(func.max(ATTEMPTS.c.id))
        .join(JOBS, JOBS.c.id == ATTEMPTS.c.job_id)
        .where(ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED), JOBS.c.result_url.is_not(None), *which)
        .group_by(ATTEMPTS.c.job_id)
    )
    return (
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id.in_(last_paid), ATTEMPTS.c.lost_at.is_(None))
        .values(lost_at=func.now())
        .cte("lost")
    )
