"""Approval: batches whose calls wait until a person accepts their price."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from cutout.enums import QueueState, State
from cutout.models import BATCHES, INGESTS, JOBS
from cutout.models.database import Database
from cutout.queue.blocks.pauses import NEXT_REVISION

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
    # In the order in which an ingest locks them, by the lock of `begin_cancelling`.
    this = select(BATCHES.c.id).where(BATCHES.c.id == batch_id)
    database.execute(this.with_for_update(key_share=True))
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
    if approved is None:
        return False
    database.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(NEXT_REVISION))
    return True


def most_credits(plan: Mapping[str, Any], budget: int | None) -> int:
    """The most credits that a batch with this plan may cost, at one for each picture to buy.

    Pictures bought before that are probably gone from the bucket are bought again.
    """
    most = int(plan["calls"]) + int(plan.get("missing", 0))
    return most if budget is None else min(most, budget)


def awaiting(database: Database, batch_id: uuid.UUID) -> int:
    """Count the batch's jobs that wait for approval."""
    counted = select(func.count()).where(
        JOBS.c.batch_id == batch_id, JOBS.c.queue_state == QueueState.BLOCKED, UNAPPROVED
    )
    return database.scalar(counted) or 0
