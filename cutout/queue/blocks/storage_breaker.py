"""The breakers: never buy what cannot be fetched and stored.

Closed, calls go out. With any of them open, none does: the bucket takes no cutouts, paid results cannot be
fetched, or too many of them wait. The dispatcher asks from time to time whether that is over.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, case, func, update
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import Stop
from cutout.models import BREAKER
from cutout.models.database import Database
from cutout.queue.blocks.call_breakers import CLOSED, IS_CLOSED, IS_OPEN
from cutout.text import cut

# A breaker that opens again so soon was closed too early: its probes come half as often.
CALM = timedelta(minutes=1)
LONGEST_PROBE_S = 60

TRIPS = case((BREAKER.c.closed_at > func.now() - CALM, func.least(BREAKER.c.trips + 1, 10)), else_=1)
THIS = BREAKER.c.kind == bindparam("of_kind")


def next_probe(trips: ColumnElement[int] | int) -> ColumnElement[datetime]:
    """When a breaker that was opened so often of late is to be asked again."""
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

PUT_OFF = (
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
    """Stop all calls, for a reason; False if this breaker has stopped them already."""
    return database.scalar(OPEN, {"of_kind": of, "why": cut(reason)}) is not None


def due_for_probe(database: Database, *, of: Stop = Stop.BUCKET) -> bool:
    """Whether to look if the trouble is over; puts the next probe off, 2 s at first and then longer."""
    return database.scalar(PUT_OFF, {"of_kind": of}) is not None


def close(database: Database, *, of: Stop = Stop.BUCKET) -> None:
    """Let calls go out again, for the trouble is over."""
    database.execute(CLOSE, {"of_kind": of})


def let_one_call(database: Database, job_id: uuid.UUID) -> None:
    """Let this one job call although results cannot be fetched, to see whether its result can."""
    database.execute(LET_ONE_CALL, {"of_kind": Stop.RESULTS, "of_job": job_id})
