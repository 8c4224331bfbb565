"""Unfinished actions of a batch, and the requests that they rule out."""

import uuid
from collections.abc import Collection

from sqlalchemy import ARRAY, Uuid, any_, literal, or_, select

from cutout.enums import ActionKind
from cutout.models import ACTIONS, BATCHES, JOBS
from cutout.models.database import Database

DELETE_AGAIN = (
    "use another batch, and delete this one again if its actions say that the deletion was given up"
)
DOING = {ActionKind.CANCEL: "cancelled", ActionKind.DELETE: "deleted"}

# About the batch of an outer statement.
HAS_ACTION = (
    select(ACTIONS.c.id)
    .where(ACTIONS.c.batch_id == BATCHES.c.id, ACTIONS.c.finished_at.is_(None))
    .correlate(BATCHES)
    .exists()
)


class BatchIsEndingError(Exception):
    """The batch is being cancelled or deleted, so none of its jobs is queued again, and it takes none."""

    def __init__(self, batch_id: uuid.UUID, kind: ActionKind) -> None:
        remedy = "ask again once that is through" if kind is ActionKind.CANCEL else DELETE_AGAIN
        super().__init__(f"the batch {batch_id} is being {DOING[kind]}; {remedy}")
        self.batch_id, self.kind = batch_id, kind


def unfinished_kinds(database: Database, batch_id: uuid.UUID) -> list[ActionKind]:
    """The kinds of the batch's unfinished actions, in the order in which they are carried out."""
    found = select(ACTIONS.c.kind).where(ACTIONS.c.batch_id == batch_id, ACTIONS.c.finished_at.is_(None))
    return [ActionKind(kind) for kind in database.scalars(found.order_by(ACTIONS.c.id))]


def ending(database: Database, batch_id: uuid.UUID) -> ActionKind | None:
    """Kind of the end of the batch: deletion from its request on, even if given up; or cancellation."""
    asked = select(BATCHES.c.delete_requested_at).where(BATCHES.c.id == batch_id)
    if database.scalar(asked) is not None:
        return ActionKind.DELETE
    return ActionKind.CANCEL if ActionKind.CANCEL in unfinished_kinds(database, batch_id) else None


def refuse_while_ending(
    database: Database, job_ids: Collection[uuid.UUID], kinds: Collection[ActionKind] = tuple(DOING)
) -> None:
    """Raise BatchIsEndingError if a batch of these jobs is ending by one of these kinds.

    To be called after the statement that changed the batches' rows, in its transaction: no action can be
    requested for them from then on, and each that was is seen.
    """
    is_given = JOBS.c.id == any_(literal(list(job_ids), ARRAY(Uuid)))
    for batch_id in database.scalars(
        select(BATCHES.c.id).where(
            BATCHES.c.id.in_(select(JOBS.c.batch_id).where(is_given)),
            or_(BATCHES.c.delete_requested_at.is_not(None), HAS_ACTION),
        )
    ).all():
        kind = ending(database, batch_id)
        if kind is not None and kind in kinds:
            raise BatchIsEndingError(batch_id, kind)
