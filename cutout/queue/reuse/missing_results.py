"""Missing results: bought cutouts that the bucket no longer holds are checked again, then bought again.

If several are missing at once none is bought: a person first finds out what emptied the bucket.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, null, select, update
from sqlalchemy.sql.dml import ReturningUpdate, Update

from cutout.models import JOBS, RESULTS
from cutout.models.columns import DELAYED
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject

CODE = "CUTOUT_MISSING"
# So many cutouts seen missing within an hour, bought again or not, stop the purchases of missing cutouts.
TOO_MANY = 3
REMEMBERED = timedelta(hours=1)
# A bucket of several sites may report an object as missing for a while.
CHECK_AGAIN_AFTER = timedelta(minutes=2)
HELD_BACK_S = 300.0

STORED = tuple(StoredObject.__slots__)
NOT_STORED = {**{name: null() for name in STORED}, "stored_at": null(), "image_sha256": null()}
NOT_MISSING = {"missing_since": null(), "missing_seen_at": null()}

SEEN_RECENTLY = RESULTS.c.missing_seen_at > func.now() - REMEMBERED
IS_MISSING = RESULTS.c.missing_since.is_not(None) & RESULTS.c.key.is_not(None)


def _seen_recently() -> Any:
    others = RESULTS.alias("others")
    seen = select(func.count()).where(others.c.missing_seen_at > func.now() - REMEMBERED)
    return seen.scalar_subquery()


def mark(*conditions: ColumnElement[bool]) -> ReturningUpdate[bool, int]:
    """Record that the bucket does not hold this cutout.

    Returns whether an earlier check found that as well, and how many cutouts were seen missing recently,
    before this statement. A check more than an hour ago does not count.
    """
    since = case((SEEN_RECENTLY, func.coalesce(RESULTS.c.missing_since, func.now())), else_=func.now())
    return (
        update(RESULTS)
        .where(*conditions)
        .values(missing_since=since, missing_seen_at=func.now())
        .returning(RESULTS.c.missing_since <= func.now() - CHECK_AGAIN_AFTER, _seen_recently())
    )


def invalidate(*conditions: ColumnElement[bool]) -> Update:
    """Forget the object of this cutout; that it was seen missing stays recorded."""
    return update(RESULTS).where(*conditions).values(**NOT_STORED, missing_since=null())


def found_again(*conditions: ColumnElement[bool]) -> Update:
    """Forget that this cutout was seen missing."""
    return update(RESULTS).where(*conditions, RESULTS.c.missing_seen_at.is_not(None)).values(**NOT_MISSING)


@dataclass(frozen=True, slots=True)
class Missing:
    """Number of missing cutouts that jobs needed within the last hour, and whether that stops purchases."""

    cutouts: int
    stopped: bool


COUNT: Select[int, int] = (
    select(func.count(), func.count().filter(IS_MISSING)).select_from(RESULTS).where(SEEN_RECENTLY)
)
FORGET = (
    update(RESULTS).where(IS_MISSING).values(**NOT_STORED, **NOT_MISSING).returning(RESULTS.c.source_sha256)
)
FORGET_REST = update(RESULTS).where(RESULTS.c.missing_seen_at.is_not(None)).values(**NOT_MISSING)
PROMOTE = (
    update(JOBS).where(JOBS.c.queue_state == DELAYED, JOBS.c.code == CODE).values(scheduled_at=func.now())
)


def read_missing(database: Database) -> Missing:
    """Count the missing cutouts."""
    seen, missing = database.execute(COUNT).one()
    return Missing(missing, stopped=missing > 0 and seen >= TOO_MANY)


def forget(database: Database) -> int:
    """Let each missing cutout be bought again by the next job that needs it; returns how many.

    Jobs that were delayed by them continue at once.
    """
    forgotten = len(database.scalars(FORGET).all())
    database.execute(FORGET_REST)
    database.execute(PROMOTE)
    return forgotten


def snooze_for(key: str | None, *, seen_before: bool, seen_recently: int) -> Snooze | None:
    """The snooze of a job whose cutout is missing; None if the cutout may be bought again.

    `key` is None if the object is another producer's, which is not named.
    """
    name = key or "its cutout"
    if not seen_before:
        message = f"the bucket does not hold {name}, which was bought; it is checked again first"
        return Snooze(CODE, message, CHECK_AGAIN_AFTER.total_seconds())
    if seen_recently >= TOO_MANY:
        message = (
            f"the bucket does not hold {name} and {seen_recently - 1:,} more cutouts that were bought;"
            " none is bought again until they are there again or `cutout forget-missing` says so"
        )
        return Snooze(CODE, message, HELD_BACK_S)
    return None
