"""Refusals of which it is doubtful that the endpoint itself gave them; from it they would pause the account.

A firewall in front of the endpoint may refuse one picture, or all calls. It is taken to refuse all calls if
two jobs receive the same refusal within ten minutes and no call begun between them was charged. Two jobs of
one producer, which may craft its pictures, are not enough while calls of other producers are open or began
between them: a real block would refuse those as well.
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

A_CALL_SUCCEEDED = (
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
THIS_JOB = _JOB.c.id == bindparam("job", type_=Uuid)
PRODUCERS_DIFFER = (
    select(_JOB.c.id)
    .join(_DOUBTED, _DOUBTED.c.producer_id.is_distinct_from(_JOB.c.producer_id))
    .where(THIS_JOB, _DOUBTED.c.id == ACCOUNTS.c.doubted_job)
    .correlate(ACCOUNTS)
    .exists()
)
OTHER_PRODUCERS_CALL = (
    select(ATTEMPTS.c.id)
    .join(_CALLER, _CALLER.c.id == ATTEMPTS.c.job_id)
    .join(_JOB, _CALLER.c.producer_id.is_distinct_from(_JOB.c.producer_id))
    .where(
        THIS_JOB,
        ATTEMPTS.c.account == ACCOUNTS.c.name,
        or_(ATTEMPTS.c.ended_at.is_(None), ATTEMPTS.c.begun_at > ACCOUNTS.c.doubted_at),
        ATTEMPTS.c.begun_at > func.now() - WITHIN,
    )
    .correlate(ACCOUNTS)
    .exists()
)
ANOTHER_JOB_REFUSED = and_(
    ACCOUNTS.c.paused_at.is_(None),
    ACCOUNTS.c.doubted_job != bindparam("job", type_=Uuid),
    ACCOUNTS.c.doubted_code == bindparam("its_code", type_=Text),
    ACCOUNTS.c.doubted_at > func.now() - WITHIN,
    not_(A_CALL_SUCCEEDED),
    or_(PRODUCERS_DIFFER, not_(OTHER_PRODUCERS_CALL)),
)


def _doubt() -> ReturningUpdate[bool, bool]:
    before = select(ACCOUNTS.c.name, ACCOUNTS.c.paused_at).with_for_update().cte("before")
    return (
        update(ACCOUNTS)
        .where(ACCOUNTS.c.name == bindparam("account", type_=Text), before.c.name == ACCOUNTS.c.name)
        .values(
            paused_at=case((ANOTHER_JOB_REFUSED, func.now()), else_=ACCOUNTS.c.paused_at),
            pause_code=case(
                (ANOTHER_JOB_REFUSED, bindparam("its_code", type_=Text)), else_=ACCOUNTS.c.pause_code
            ),
            pause_message=case(
                (ANOTHER_JOB_REFUSED, bindparam("its_message", type_=Text)), else_=ACCOUNTS.c.pause_message
            ),
            probe_at=case((ANOTHER_JOB_REFUSED, func.now() + PROBE_AFTER), else_=ACCOUNTS.c.probe_at),
            doubted_job=bindparam("job", type_=Uuid),
            doubted_code=bindparam("its_code", type_=Text),
            doubted_at=func.now(),
        )
        .returning(before.c.paused_at.is_(None), ACCOUNTS.c.paused_at.is_not(None))
    )


DOUBT = _doubt()


@dataclass(frozen=True, slots=True)
class Doubt:
    """`pauses`: this refusal paused the account. `met_alone`: refusals that only this job received.

    `met_alone` is None if the account is paused, now or before: then the picture is not the cause.
    """

    pauses: bool
    met_alone: int | None


def doubt(database: Database, name: str, *, job_id: uuid.UUID, code: str, message: str) -> Doubt:
    """Record that the job received such a refusal, and pause the account if another job received it too."""
    parameters = {"account": name, "job": job_id, "its_code": code, "its_message": cut(message)}
    row = database.execute(DOUBT, parameters).first()
    was_open, is_paused = row or (False, False)
    if is_paused:
        return Doubt(was_open, None)
    refusals = select(func.count()).where(
        ATTEMPTS.c.job_id == job_id,
        ATTEMPTS.c.code == code,
        ATTEMPTS.c.outcome == AttemptOutcome.NOT_CHARGED,
    )
    return Doubt(pauses=False, met_alone=database.scalars(refusals).one())
