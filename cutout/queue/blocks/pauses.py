"""Holding work back: pauses of a batch or of everything, windows, budgets. They outlive every process."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, not_, null, or_, select, update

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, BATCHES, JOBS, LINE
from cutout.models.database import Database

WINDOW_IS_OPEN = and_(
    or_(BATCHES.c.opens_at.is_(None), BATCHES.c.opens_at <= func.now()),
    or_(BATCHES.c.closes_at.is_(None), BATCHES.c.closes_at > func.now()),
)
# Of a batch: no call of it may go out now. Whoever hands calls out or begins one asks this.
# Its producer's pause and the operator's are two: neither lifts the other.
IS_PAUSED = or_(BATCHES.c.paused_at.is_not(None), BATCHES.c.paused_by_operator_at.is_not(None))
RESTS = or_(IS_PAUSED, not_(WINDOW_IS_OPEN))


class By(StrEnum):
    """Who pauses or resumes: each lifts its own pause, and the column of each keeps it."""

    PRODUCER = "paused_at"
    OPERATOR = "paused_by_operator_at"


class PausedByOperatorError(Exception):
    """A producer cannot do this: an operator paused what it is about."""

    def __init__(self, what: str) -> None:
        super().__init__(f"an operator paused the {what}; ask the operator to let it go on")


def pause(database: Database, batch_id: uuid.UUID | None = None, by: By = By.PRODUCER) -> bool:
    """Let no further call of the batch, or of any, go out; False if that is so already. Copies go on."""
    table, paused_at = (LINE, LINE.c.paused_at) if batch_id is None else (BATCHES, BATCHES.c[by])
    change = update(table).where(paused_at.is_(None)).values({paused_at: func.now()})
    if batch_id is not None:
        change = change.where(BATCHES.c.id == batch_id)
    return database.scalar(change.returning(table.c.id)) is not None


def resume(database: Database, batch_id: uuid.UUID | None = None, by: By = By.PRODUCER) -> bool:
    """Let calls go out again; False if they were not paused, or are paused by the other one alone.

    An operator's resuming ends every pause of a batch that has no producer. Raises PausedByOperatorError
    where a producer resumes what an operator paused; its own pause stays as well then.
    """
    if batch_id is None:
        change = update(LINE).where(LINE.c.paused_at.is_not(None)).values(paused_at=null())
        return database.scalar(change.returning(LINE.c.id)) is not None
    its = BATCHES.c.id == batch_id
    change = update(BATCHES).where(its, *_liftable(by)).values(_lifted(by)).returning(BATCHES.c.id)
    if database.scalar(change) is not None:
        return True
    if by is By.PRODUCER and database.scalar(
        select(BATCHES.c.id).where(its, BATCHES.c.paused_by_operator_at.is_not(None))
    ):
        raise PausedByOperatorError("batch")
    return False


def _liftable(by: By) -> list[ColumnElement[bool]]:
    if by is By.PRODUCER:
        return [BATCHES.c.paused_at.is_not(None), BATCHES.c.paused_by_operator_at.is_(None)]
    without_producer = and_(BATCHES.c.producer_id.is_(None), BATCHES.c.paused_at.is_not(None))
    return [or_(BATCHES.c.paused_by_operator_at.is_not(None), without_producer)]


def _lifted(by: By) -> dict[str, ColumnElement[Any]]:
    if by is By.PRODUCER:
        return {"paused_at": null()}
    kept = case((BATCHES.c.producer_id.is_not(None), BATCHES.c.paused_at))
    return {"paused_by_operator_at": null(), "paused_at": kept}


def set_budget(database: Database, batch_id: uuid.UUID, budget: int | None) -> None:
    """Bound what the batch's calls may cost, in credits; None lifts the bound. What was held for it may go.

    In the caller's transaction, which must be one: it holds the batch's row from the count on.

    Calls that are out when a first budget is set may be missing from what counts as spent: a batch that must
    keep to a budget from its first job on gets it when it is made.
    """
    # First, and in a statement of its own: the next one then counts each call whose credit was taken before.
    database.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update())
    spent = (
        select(func.count())
        .join(JOBS, JOBS.c.id == ATTEMPTS.c.job_id)
        .where(JOBS.c.batch_id == batch_id, ATTEMPTS.c.outcome != AttemptOutcome.NOT_CHARGED)
        .scalar_subquery()
    )
    database.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(budget=budget, spent=spent))
