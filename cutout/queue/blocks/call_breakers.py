"""Whether a breaker keeps a job's call from going out; and the success that closes the one on results."""

from sqlalchemy import Boolean, bindparam, case, func, null, or_, select, text, update
from sqlalchemy.sql.dml import Update

from cutout.enums import Stop
from cutout.models import BREAKER, JOBS, constant

IS_OPEN = BREAKER.c.opened_at.is_not(None)
IS_CLOSED = BREAKER.c.opened_at.is_(None)

# For statements about one job.
ITS_CALL_IS_STOPPED = (
    select(BREAKER.c.kind)
    .where(IS_OPEN, or_(BREAKER.c.probe_job.is_(None), BREAKER.c.probe_job != JOBS.c.id))
    .correlate(JOBS)
    .exists()
)
BUCKET_IS_AWAY = select(BREAKER.c.kind).where(IS_OPEN, BREAKER.c.kind == constant(Stop.BUCKET)).exists()

CLOSED = {
    "opened_at": null(),
    "reason": null(),
    "host": null(),
    "code": null(),
    "probe_at": null(),
    "probe_job": null(),
    "failed_jobs": text("'{}'::uuid[]"),
}


def a_result_was_fetched() -> Update:
    """Forget the failures before it and close the breaker on results, if `was_fetched` says so.

    It changes no row while results are fetched without trouble.
    """
    return (
        update(BREAKER)
        .where(
            BREAKER.c.kind == constant(Stop.RESULTS),
            func.cardinality(BREAKER.c.failed_jobs) > 0,
            bindparam("was_fetched", type_=Boolean),
        )
        .values(**CLOSED, closed_at=case((IS_OPEN, func.now()), else_=BREAKER.c.closed_at))
    )
