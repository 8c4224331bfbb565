"""Approval: batches whose calls wait until a person accepts their price."""

import uuid

from sqlalchemy import and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from cutout.enums import QueueState, State
from cutout.models import BATCHES, INGESTS, JOBS
from cutout.models.database import Database

NEEDS_APPROVAL = "NEEDS_APPROVAL"
MESSAGE = "it waits for approval; look at the plan, then `cutout approve` its batch or `cutout cancel` it"
# Keys of ingests.options: approval is required, and was given.
PLAN, APPROVED = "plan", "approved"

UNAPPROVED = and_(JOBS.c.state == State.HELD, JOBS.c.code == NEEDS_APPROVAL)


def approve(database: Database, batch_id: uuid.UUID) -> bool:
    """Approve the batch's jobs, within its budget; false if it waits for no approval.

    The dispatcher unblocks them all, since only a dispatch shows which of them need no call. Jobs for which
    the budget has no credit are held again. Rows of the batch that are still being read are approved as well.
    """
    # In the order in which an ingest locks them: one may be adding to the batch now.
    database.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update())
    approved = database.scalar(
        update(INGESTS)
        .where(
            INGESTS.c.batch_id == batch_id,
            INGESTS.c.options.has_key(PLAN),
            ~INGESTS.c.options.has_key(APPROVED),
        )
        .values(options=INGESTS.c.options.op("||")(literal({APPROVED: True}, JSONB)))
        .returning(INGESTS.c.batch_id)
    )
    return approved is not None


def awaiting(database: Database, batch_id: uuid.UUID) -> int:
    """Count the batch's jobs that wait for approval."""
    counted = select(func.count()).where(
        JOBS.c.batch_id == batch_id, JOBS.c.queue_state == QueueState.BLOCKED, UNAPPROVED
    )
    return database.scalar(counted) or 0
