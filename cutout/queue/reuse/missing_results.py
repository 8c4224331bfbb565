"""Cutouts that were bought and that the bucket does not hold any more: looked for again, then bought anew.

A few at once are no reason to buy: whatever emptied the bucket, a person sees to it first.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, null, select, update
from sqlalchemy.sql.dml import ReturningUpdate, Update

from cutout.enums import Standing
from cutout.models import JOBS, RESULTS, constant
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject

CODE = "CUTOUT_MISSING"
# So many cutouts seen missing within an hour, bought anew or not, stop the buying of such.
TOO_MANY = 3
REMEMBERED = timedelta(hours=1)
# A store of several sites may say for a while that it does not hold what it holds.
SECOND_LOOK = timedelta(minutes=2)
HELD_BACK_S = 300.0

STORED = tuple(StoredObject.__slots__)
NOT_STORED = {**{name: null() for name in STORED}, "stored_at": null(), "image_sha256": null()}
NOT_MISSING = {"missing_since": null(), "missing_seen_at": null()}

OF_LATE = RESULTS.c.missing_seen_at > func.now() - REMEMBERED
IS_MISSING = RESULTS.c.missing_since.is_not(None) & RESULTS.c.key.is_not(None)


def _seen_of_late() -> Any:
    others = RESULTS.alias("others")
    seen = select(func.count()).where(others.c.missing_seen_at > func.now() - REMEMBERED)
    return seen.scalar_subquery()


def mark(*which: ColumnElement[bool]) -> ReturningUpdate[bool, int]:
    """Note that the bucket does not hold this cutout. Returns whether it was so at a look before, and how
    many were seen missing of late before this statement.

    After an hour without a look the first one counts no more.
    """
    since = case((OF_LATE, func.coalesce(RESULTS.c.missing_since, func.now())), else_=func.now())
    return (
        update(RESULTS)
        .where(*which)
        .values(missing_since=since, missing_seen_at=func.now())
        .returning(RESULTS.c.missing_since <= func.now() - SECOND_LOOK, _seen_of_late())
    )


def disown(*which: ColumnElement[bool]) -> Update:
    """Forget where this cutout lies, and keep in mind that one was missing."""
    return update(RESULTS).where(*which).values(**NOT_STORED, missing_since=null())


def found_again(*which: ColumnElement[bool]) -> Update:
    """Forget that this cutout was seen missing."""
    return update(RESULTS).where(*which, RESULTS.c.missing_seen_at.is_not(None)).values(**NOT_MISSING)


@dataclass(frozen=True, slots=True)
class Missing:
    """How many cutouts are missing that jobs asked for within the last hour, and whether that stops their
    buying.
    """

    cutouts: int
    stopped: bool


LOOK: Select[int, int] = (
    select(func.count(), func.count().filter(IS_MISSING)).select_from(RESULTS).where(OF_LATE)
)
FORGET = (
    update(RESULTS).where(IS_MISSING).values(**NOT_STORED, **NOT_MISSING).returning(RESULTS.c.source_sha256)
)
FORGET_REST = update(RESULTS).where(RESULTS.c.missing_seen_at.is_not(None)).values(**NOT_MISSING)
WAKE = (
    update(JOBS)
    .where(JOBS.c.standing == constant(Standing.RESTING), JOBS.c.code == CODE)
    .values(scheduled_at=func.now())
)


def look(database: Database) -> Missing:
    """Look at what is missing."""
    seen, missing = database.execute(LOOK).one()
    return Missing(missing, stopped=missing > 0 and seen >= TOO_MANY)


def forget(database: Database) -> int:
    """Let each cutout that is missing be bought anew by the next job that asks; returns how many.

    Jobs that wait for them go on at once.
    """
    forgotten = len(database.scalars(FORGET).all())
    database.execute(FORGET_REST)
    database.execute(WAKE)
    return forgotten


def why_wait(key: str | None, *, seen_before: bool, seen_of_late: int) -> Snooze | None:
    """What becomes of a job whose cutout is missing: it waits; None if the cutout may be bought anew.

    `key` is None where the object is another producer's, which is not named.
    """
    it = key or "its cutout"
    if not seen_before:
        words = f"the bucket does not hold {it}, which was bought; it is looked for again first"
        return Snooze(CODE, words, SECOND_LOOK.total_seconds())
    if seen_of_late >= TOO_MANY:
        words = (
            f"the bucket does not hold {it} and {seen_of_late - 1:,} more cutouts that were bought;"
            " none is bought anew until they are there again or `cutout forget-missing` says so"
        )
        return Snooze(CODE, words, HELD_BACK_S)
    return None
