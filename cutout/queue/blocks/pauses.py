"""Pauses of a batch or of the whole queue, windows, and budgets, all kept in the database."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, not_, null, or_, select, update

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, BATCHES, JOBS, QUEUE_CLOCK
from cutout.models.database import Database

WINDOW_IS_OPEN = and_(
    or_(BATCHES.c.opens_at.is_(None), BATCHES.c.opens_at <= func.now()),
    or_(BATCHES.c.closes_at.is_(None), BATCHES.c.closes_at > func.now()),
)
# Whether no call of a batch may go out now: dispatch and begin_attempt check it. The producer's pause and the
# operator's are separate: neither lifts the other.
HAS_A_PAUSE = or_(BATCHES.c.paused_at.is_not(None), BATCHES.c.paused_by_operator_at.is_not(None))
IS_PAUSED = or_(HAS_A_PAUSE, not_(WINDOW_IS_OPEN))
# Each change that somebody asks for raises the revision, by which the next one is made conditional.
NEXT_REVISION = {"revision": BATCHES.c.revision + 1}


class By(StrEnum):
    """Role that pauses or resumes, with the column of its pause: each lifts its own only."""

    PRODUCER = "paused_at"
    OPERATOR = "paused_by_operator_at"


class PausedByOperatorError(Exception):
    """A producer cannot resume what an operator paused."""

    def __init__(self, noun: str) -> None:
        super().__init__(f"an operator paused the {noun}; ask the operator to resume it")


def pause(database: Database, batch_id: uuid.UUID | None = None, by: By = By.PRODUCER) -> bool:
    """Stop new calls of the batch, or of all; false if they are paused already. Copies continue."""
    table, paused_at = (
        (QUEUE_CLOCK, QUEUE_CLOCK.c.paused_at) if batch_id is None else (BATCHES, BATCHES.c[by])
    )
    change = update(table).where(paused_at.is_(None)).values({paused_at: func.now()})
    if batch_id is not None:
        change = change.where(BATCHES.c.id == batch_id).values(NEXT_REVISION)
    return database.scalar(change.returning(table.c.id)) is not None


def resume(database: Database, batch_id: uuid.UUID | None = None, by: By = By.PRODUCER) -> bool:
    """Let calls go out again; false if they were not paused, or only by the other role.

    An operator also lifts the producer's pause of a batch that has no producer. Raises PausedByOperatorError
    if a producer resumes what an operator paused; its own pause stays as well then.
    """
    if batch_id is None:
        change = update(QUEUE_CLOCK).where(QUEUE_CLOCK.c.paused_at.is_not(None)).values(paused_at=null())
        return database.scalar(change.returning(QUEUE_CLOCK.c.id)) is not None
    is_batch = BATCHES.c.id == batch_id
    change = update(BATCHES).where(is_batch, *_liftable(by)).values(_lifted(by)).values(NEXT_REVISION)
    change = change.returning(BATCHES.c.id)
    if database.scalar(change) is not None:
        return True
    if by is By.PRODUCER and database.scalar(
        select(BATCHES.c.id).where(is_batch, BATCHES.c.paused_by_operator_at.is_not(None))
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
    """Limit the cost of the batch's calls, in credits; None for no limit. Jobs held for it may continue.

    The caller must be in a transaction: the batch's row is locked from the count on.

    Calls that are open when a first budget is set may be missing from the spent credits: a batch that must
    keep to a budget from its first job on gets it when it is created. Its revision rises.
    """
    # First, in its own statement: the next one then counts each call whose credit was taken before.
    database.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update())
    spent = (
        select(func.count())
        .join(JOBS, JOBS.c.id == ATTEMPTS.c.job_id)
        .where(JOBS.c.batch_id == batch_id, ATTEMPTS.c.outcome != AttemptOutcome.NOT_CHARGED)
        .scalar_subquery()
    )
    database.execute(
        update(BATCHES)
        .where(BATCHES.c.id == batch_id)
        .values(budget=budget, spent=spent)
        .values(NEXT_REVISION)
    )
