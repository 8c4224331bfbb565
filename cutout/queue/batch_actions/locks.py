"""Locks of the requests of actions.

A portion locks its action's row before all others. So a request takes the lock of its batch's requests first,
then rows of actions, then the batch's row.
"""

import uuid

from sqlalchemy import func, select, update

from cutout.enums import ActionKind
from cutout.models import ACTIONS, constant
from cutout.models.database import Database

# Of a retry that a cancellation ended.
CANCELLED = "BATCH_CANCELLED"
CANCELLED_MESSAGE = "the batch was cancelled meanwhile; the jobs that are left stay as they are"


def lock_actions(database: Database, batch_id: uuid.UUID) -> None:
    """Let no other request of an action of this batch go on until the transaction ends."""
    database.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"actions of {batch_id}", 0))))


def end_retries(database: Database, batch_id: uuid.UUID) -> bool:
    """End the batch's retries where they are; waits for the portion of one that is under way.

    False if there are none.
    """
    ended = database.execute(
        update(ACTIONS)
        .where(
            ACTIONS.c.batch_id == batch_id,
            ACTIONS.c.kind == constant(ActionKind.RETRY),
            ACTIONS.c.finished_at.is_(None),
        )
        .values(finished_at=func.now(), code=CANCELLED, message=CANCELLED_MESSAGE)
        .returning(ACTIONS.c.id)
    )
    return ended.first() is not None
