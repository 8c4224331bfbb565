"""Calls of unknown outcome that were made while the endpoint failed for everybody."""

from datetime import timedelta

from sqlalchemy import DateTime, bindparam, cast, func, literal, select, update

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, constant
from cutout.models.database import Database
from cutout.queue.claims import Claim

# The failures in a row that open a circuit lie within.
STREAK = timedelta(minutes=10)

OF_LATE = ATTEMPTS.c.begun_at > func.now() - STREAK
ITS_ACCOUNT = (
    select(ATTEMPTS.c.account)
    .where(ATTEMPTS.c.job_id == bindparam("claimed_job"), ATTEMPTS.c.fence == bindparam("claimed_fence"))
    .order_by(ATTEMPTS.c.id.desc())
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)
LAST_SUCCESS = (
    select(func.max(ATTEMPTS.c.ended_at))
    .where(OF_LATE, ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED), ATTEMPTS.c.account == ITS_ACCOUNT)
    .correlate(None)
    .scalar_subquery()
)
NEVER = cast(literal("-infinity"), DateTime(timezone=True))
EXCUSE = (
    update(ATTEMPTS)
    .where(
        OF_LATE,
        ATTEMPTS.c.account == ITS_ACCOUNT,
        ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
        ~ATTEMPTS.c.in_outage,
        ATTEMPTS.c.ended_at > func.coalesce(LAST_SUCCESS, NEVER),
    )
    .values(in_outage=True)
)


def excuse(database: Database, claim: Claim) -> None:
    """Mark this claim's call of unknown outcome, and its account's others since the last that was charged.

    They stay in the ledger and in what was spent, and do not count against their jobs.
    """
    database.execute(EXCUSE, {"claimed_job": claim.job_id, "claimed_fence": claim.fence})
