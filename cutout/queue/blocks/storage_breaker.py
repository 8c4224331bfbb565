"""The breakers: no call is made whose result cannot be fetched and stored.

While any breaker is open, no call goes out: the bucket takes no cutouts, paid results cannot be fetched, or
too many of them wait. The dispatcher probes from time to time whether that is over.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Boolean, ColumnElement, bindparam, case, func, null, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import Update

from cutout.enums import Stop
from cutout.models import BREAKER, JOBS, constant
from cutout.models.database import Database
from cutout.text import cut

# A breaker that opens again within this time was closed too early: its probes come half as often.
CALM = timedelta(minutes=1)
LONGEST_PROBE_S = 60

IS_OPEN = BREAKER.c.opened_at.is_not(None)
IS_CLOSED = BREAKER.c.opened_at.is_(None)
BUCKET_IS_UNREACHABLE = (
    select(BREAKER.c.kind).where(IS_OPEN, BREAKER.c.kind == constant(Stop.BUCKET)).exists()
)

# For statements about one job.
CALL_IS_STOPPED = (
    select(BREAKER.c.kind)
    .where(IS_OPEN, or_(BREAKER.c.probe_job.is_(None), BREAKER.c.probe_job != JOBS.c.id))
    .correlate(JOBS)
    .exists()
)

CLOSED = {
    "opened_at": null(),
    "reason": null(),
    "host": null(),
    "code": null(),
    "probe_at": null(),
    "probe_job": null(),
    "failed_jobs": text("'{}'::uuid[]"),
}

TRIPS = case((BREAKER.c.closed_at > func.now() - CALM, func.least(BREAKER.c.trips + 1, 10)), else_=1)
THIS = BREAKER.c.kind == bindparam("of_kind")


def next_probe(trips: ColumnElement[int] | int) -> ColumnElement[datetime]:
    """The time of the next probe of a breaker that opened so often recently."""
    return func.now() + func.make_interval(
        0, 0, 0, 0, 0, 0, func.least(func.power(2, trips), LONGEST_PROBE_S)
    )


_NEW = insert(BREAKER).values(
    kind=bindparam("of_kind"),
    opened_at=func.now(),
    reason=bindparam("why"),
    trips=1,
    probe_at=next_probe(1),
)
OPENED = {"opened_at": func.now(), "trips": TRIPS, "probe_at": next_probe(TRIPS)}
OPEN = _NEW.on_conflict_do_update(
    index_elements=["kind"], set_={**OPENED, "reason": _NEW.excluded.reason}, where=IS_CLOSED
).returning(BREAKER.c.kind)

POSTPONE_PROBE = (
    update(BREAKER)
    .where(THIS, BREAKER.c.probe_at <= func.now())
    .values(probe_at=next_probe(BREAKER.c.trips))
    .returning(BREAKER.c.kind)
)

CLOSE = update(BREAKER).where(THIS, IS_OPEN).values(**CLOSED, closed_at=func.now())

LET_ONE_CALL = (
    update(BREAKER).where(THIS, IS_OPEN).values(probe_job=bindparam("of_job", type_=BREAKER.c.probe_job.type))
)


def trip(database: Database, reason: str, *, of: Stop = Stop.BUCKET) -> bool:
    """Open a breaker, so that all calls stop; false if it is open already."""
    return database.scalar(OPEN, {"of_kind": of, "why": cut(reason)}) is not None


def due_for_probe(database: Database, *, of: Stop = Stop.BUCKET) -> bool:
    """Whether a probe is due; if so, the next one is postponed, by 2 s at first and then by longer."""
    return database.scalar(POSTPONE_PROBE, {"of_kind": of}) is not None


def close(database: Database, *, of: Stop = Stop.BUCKET) -> None:
    """Close a breaker: the trouble is over."""
    database.execute(CLOSE, {"of_kind": of})


def let_one_call(database: Database, job_id: uuid.UUID) -> None:
    """Let one job call although results cannot be fetched, to find out whether its result can."""
    database.execute(LET_ONE_CALL, {"of_kind": Stop.RESULTS, "of_job": job_id})


def record_fetch() -> Update:
    """Forget earlier failures to fetch results and close the breaker on them, if `was_fetched` is true.

    The statement changes no row while results are fetched without trouble.
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
