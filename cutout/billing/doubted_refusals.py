"""Answers that would stop an account, had the endpoint itself given them.

A firewall before the endpoint may refuse one picture, or all calls. It is all calls if two jobs meet the same
within ten minutes and no call that began between them was charged. Two of one producer, whose pictures may be
made for it, are not believed while calls of others are out or began between them: those meet it as well.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Text, Uuid, and_, bindparam, case, func, not_, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from cutout.billing.accounts import PROBE_AFTER
from cutout.enums import AttemptOutcome
from cutout.models import ACCOUNTS, ATTEMPTS, JOBS
from cutout.models.database import Database
from cutout.text import cut

WITHIN = timedelta(minutes=10)

A_CALL_WENT_WELL = (
    select(ATTEMPTS.c.id)
    .where(
        ATTEMPTS.c.account == ACCOUNTS.c.name,
        ATTEMPTS.c.begun_at > ACCOUNTS.c.doubted_at,
        ATTEMPTS.c.outcome == AttemptOutcome.CHARGED,
    )
    .correlate(ACCOUNTS)
    .exists()
)
_JOB, _DOUBTED, _CALLER = (JOBS.alias(name) for name in ("this_job", "doubted_before", "calling_job"))
THE_JOB = _JOB.c.id == bindparam("job", type_=Uuid)
IT_IS_ANOTHER_PRODUCERS = (
    select(_JOB.c.id)
    .join(_DOUBTED, _DOUBTED.c.producer_id.is_distinct_from(_JOB.c.producer_id))
    .where(THE_JOB, _DOUBTED.c.id == ACCOUNTS.c.doubted_job)
    .correlate(ACCOUNTS)
    .exists()
)
OTHERS_CALL = (
    select(ATTEMPTS.c.id)
    .join(_CALLER, _CALLER.c.id == ATTEMPTS.c.job_id)
    .join(_JOB, _CALLER.c.producer_id.is_distinct_from(_JOB.c.producer_id))
    .where(
        THE_JOB,
        ATTEMPTS.c.account == ACCOUNTS.c.name,
        or_(ATTEMPTS.c.ended_at.is_(None), ATTEMPTS.c.begun_at > ACCOUNTS.c.doubted_at),
        ATTEMPTS.c.begun_at > func.now() - WITHIN,
    )
    .correlate(ACCOUNTS)
    .exists()
)
ANOTHER_MET_IT = and_(
    ACCOUNTS.c.paused_at.is_(None),
    ACCOUNTS.c.doubted_job != bindparam("job", type_=Uuid),
    ACCOUNTS.c.doubted_code == bindparam("its_code", type_=Text),
    ACCOUNTS.c.doubted_at > func.now() - WITHIN,
    not_(A_CALL_WENT_WELL),
    or_(IT_IS_ANOTHER_PRODUCERS, not_(OTHERS_CALL)),
)


def _doubt() -> ReturningUpdate[bool, bool]:
    before = select(ACCOUNTS.c.name, ACCOUNTS.c.paused_at).with_for_update().cte("before")
    return (
        update(ACCOUNTS)
        .where(ACCOUNTS.c.name == bindparam("account", type_=Text), before.c.name == ACCOUNTS.c.name)
        .values(
            paused_at=case((ANOTHER_MET_IT, func.now()), else_=ACCOUNTS.c.paused_at),
            pause_code=case((ANOTHER_MET_IT, bindparam("its_code", type_=Text)), else_=ACCOUNTS.c.pause_code),
            pause_message=case(
                (ANOTHER_MET_IT, bindparam("its_message", type_=Text)), else_=ACCOUNTS.c.pause_message
            ),
            probe_at=case((ANOTHER_MET_IT, func.now() + PROBE_AFTER), else_=ACCOUNTS.c.probe_at),
            doubted_job=bindparam("job", type_=Uuid),
            doubted_code=bindparam("its_code", type_=Text),
            doubted_at=func.now(),
        )
        .returning(before.c.paused_at.is_(None), ACCOUNTS.c.paused_at.is_not(None))
    )


DOUBT = _doubt()


@dataclass(frozen=True, slots=True)
class Doubt:
    """`pauses`: the account stands still from now on. `met_alone`: how often this job met it.

    It is None if the account stands still, by this or before: then it is not this job's picture.
    """

    pauses: bool
    met_alone: int | None


def doubt(database: Database, name: str, *, job_id: uuid.UUID, code: str, message: str) -> Doubt:
    """Write down that the job met such an answer, and stop the account's calls if another one did."""
    said = {"account": name, "job": job_id, "its_code": code, "its_message": cut(message)}
    row = database.execute(DOUBT, said).first()
    was_open, stands_still = row or (False, False)
    if stands_still:
        return Doubt(was_open, None)
    met = select(func.count()).where(
        ATTEMPTS.c.job_id == job_id,
        ATTEMPTS.c.code == code,
        ATTEMPTS.c.outcome == AttemptOutcome.NOT_CHARGED,
    )
    return Doubt(pauses=False, met_alone=database.scalars(met).one())
