"""Flags set on attempts after their end: paid results that were lost, unknown charges during an outage."""

from datetime import timedelta

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    bindparam,
    cast,
    func,
    literal,
    select,
    update,
)

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database
from cutout.queue.claims import Claim

# The failures in a row that open a circuit lie within this time.
STREAK = timedelta(minutes=10)

IS_RECENT = ATTEMPTS.c.begun_at > func.now() - STREAK
ACCOUNT_OF_CLAIM = (
    select(ATTEMPTS.c.account)
    .where(ATTEMPTS.c.job_id == bindparam("claimed_job"), ATTEMPTS.c.fence == bindparam("claimed_fence"))
    .order_by(ATTEMPTS.c.id.desc())
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)
LAST_SUCCESS = (
    select(func.max(ATTEMPTS.c.ended_at))
    .where(
        IS_RECENT,
        ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED),
        ATTEMPTS.c.account == ACCOUNT_OF_CLAIM,
    )
    .correlate(None)
    .scalar_subquery()
)
NEVER = cast(literal("-infinity"), DateTime(timezone=True))
EXCUSE = (
    update(ATTEMPTS)
    .where(
        IS_RECENT,
        ATTEMPTS.c.account == ACCOUNT_OF_CLAIM,
        ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
        ~ATTEMPTS.c.in_outage,
        ATTEMPTS.c.ended_at > func.coalesce(LAST_SUCCESS, NEVER),
    )
    .values(in_outage=True)
)


def last_paid(jobs: FromClause, *conditions: ColumnElement[bool]) -> Select[int]:
    """Select the last charged call of each of these jobs, which paid for the result it has now."""
    return (
        select(func.max(ATTEMPTS.c.id))
        .join(jobs, jobs.c.id == ATTEMPTS.c.job_id)
        .where(ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED), *conditions)
        .group_by(ATTEMPTS.c.job_id)
    )


def lose(paid: Select[int]) -> CTE:
    """Flag these calls as lost, those that are not yet: their results became no cutout."""
    return (
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id.in_(paid), ATTEMPTS.c.lost_at.is_(None))
        .values(lost_at=func.now())
        .cte("lost")
    )


def lose_results_of(*conditions: ColumnElement[bool]) -> CTE:
    """Flag the calls that paid for the results of these jobs, in the statement that drops their URLs.

    It sees the jobs as they were before that statement.
    """
    return lose(last_paid(JOBS, JOBS.c.result_url.is_not(None), *conditions))


def excuse(database: Database, claim: Claim) -> None:
    """Flag this claim's unknown call as made in an outage, and those of its account since the last success.

    They stay in the ledger and in the spent credits, and do not count against their jobs.
    """
    database.execute(EXCUSE, {"claimed_job": claim.job_id, "claimed_fence": claim.fence})
