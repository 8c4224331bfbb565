"""Batches that wait for a person to say that they may be paid for."""

import uuid

from sqlalchemy import and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from cutout.enums import Standing, State
from cutout.models import BATCHES, INGESTS, JOBS
from cutout.models.database import Database

NEEDS_APPROVAL = "NEEDS_APPROVAL"
MESSAGE = "it waits for approval; look at the plan, then `cutout approve` its batch or `cutout cancel` it"
# Keys of ingests.options: asked for when the ingest began, and given later.
PLAN, APPROVED = "plan", "approved"

UNAPPROVED = and_(JOBS.c.state == State.HELD, JOBS.c.code == NEEDS_APPROVAL)


def approve(database: Database, batch_id: uuid.UUID) -> bool:
    """Let the batch's jobs go, within its budget; False if it waits for no approval.

    The dispatcher brings them into line: all of them, for only there it shows which need no call. Those that
    the budget leaves no credit for are held again. Rows of it that are still being read follow them.
    """
    # In the order in which an ingest takes them, which may be adding to the batch now.
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
    """How many of the batch's jobs wait for approval."""
    counted = select(func.count()).where(
        JOBS.c.batch_id == batch_id, JOBS.c.standing == Standing.PARKED, UNAPPROVED
    )
    return database.scalar(counted) or 0
