"""Final actions for which a person types how many jobs they are about."""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.actions import batches
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.producers.actors import Asked
from cutout.queue.batch_actions.locks import lock_actions


class OtherCountError(Exception):
    """The typed count is not the present one; the text has both. Nothing was changed."""

    def __init__(self, typed: int, present: int) -> None:
        super().__init__(f"the batch has {present:,} jobs, not {typed:,} as typed; look at it again")
        self.typed, self.present = typed, present


def count_to_type(database: Database, batch_id: uuid.UUID) -> int:
    """The number of the batch's jobs, in any state: it stays as it is while they are worked on."""
    counted = select(func.count()).where(JOBS.c.batch_id == batch_id, JOBS.c.deleted_at.is_(None))
    return database.scalar(counted) or 0


def cancel_typed(session: Session, asked: Asked, batch_id: uuid.UUID, typed: int) -> uuid.UUID | None:
    """Cancel the batch if it has so many jobs, as `cancel_batch` does. Raises OtherCountError."""
    _require(session, batch_id, typed)
    return batches.cancel_batch(session, asked, batch_id)


def delete_typed(
    session: Session, asked: Asked, batch_id: uuid.UUID, typed: int, *, objects: bool
) -> uuid.UUID | None:
    """Delete the batch if it has so many jobs, as `delete_batch` does. Raises OtherCountError."""
    _require(session, batch_id, typed)
    return batches.delete_batch(session, asked, batch_id, objects=objects)


def _require(session: Session, batch_id: uuid.UUID, typed: int) -> None:
    # No job comes in between the count and the action: enqueuing changes the batch's row.
    lock_actions(session, batch_id)
    session.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update(key_share=True))
    present = count_to_type(session, batch_id)
    if present != typed:
        raise OtherCountError(typed, present)
