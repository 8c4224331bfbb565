"""The breaker between calls and the bucket: never buy what cannot be stored.

Closed, calls go out. Open, none does, and the dispatcher asks the bucket from time to time.
"""

from datetime import timedelta

from sqlalchemy import case, func, literal, null, update

from jobs.database import Database
from jobs.models import BREAKER
from jobs.store.words import cut

# A breaker that opens again so soon was closed too early: its probes come half as often.
CALM = timedelta(minutes=1)
LONGEST_PROBE_S = 60

TRIPS = case((BREAKER.c.closed_at > func.now() - CALM, func.least(BREAKER.c.trips + 1, 10)), else_=1)


def _next_probe(trips: object) -> object:
    return func.now() + func.make_interval(
        0, 0, 0, 0, 0, 0, func.least(func.power(2, trips), LONGEST_PROBE_S)
    )


OPEN = (
    update(BREAKER)
    .where(BREAKER.c.opened_at.is_(None))
    .values(opened_at=func.now(), trips=TRIPS, probe_at=_next_probe(TRIPS))
    .returning(BREAKER.c.id)
)

PUT_OFF = (
    update(BREAKER)
    .where(BREAKER.c.probe_at <= func.now())
    .values(probe_at=_next_probe(BREAKER.c.trips))
    .returning(BREAKER.c.id)
)


def trip(database: Database, reason: str) -> bool:
    """Stop all calls, for the bucket did not take a cutout; False if they are stopped already."""
    return database.scalar(OPEN.values(reason=literal(cut(reason)))) is not None


def due_for_probe(database: Database) -> bool:
    """Whether the bucket is to be asked again; puts the next probe off, 2 s at first and then longer."""
    return database.scalar(PUT_OFF) is not None


def close(database: Database) -> None:
    """Let calls go out again, for the bucket takes cutouts."""
    database.execute(
        update(BREAKER)
        .where(BREAKER.c.opened_at.is_not(None))
        .values(opened_at=null(), reason=null(), probe_at=null(), closed_at=func.now())
    )
