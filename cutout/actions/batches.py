"""Actions on a batch. Each works in the caller's transaction and returns the id of its row."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.administration.delete_batch import request_deletion
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.enums import ActionKind, Role
from cutout.models import BATCHES, INGESTS, QUEUE_CLOCK
from cutout.models.database import Database
from cutout.producers.action_record import EVERYTHING, Extent, about_batch, record
from cutout.producers.actors import Asked
from cutout.queue import batch_changes
from cutout.queue.batch_actions.request import request_action, request_cancel, request_outputs
from cutout.queue.batch_changes import BatchChange, Changeable
from cutout.queue.blocks import approval, pauses
from cutout.queue.blocks.approval import most_credits
from cutout.queue.blocks.pauses import By

BEFORE = "before"
"""Option of a resumption: the pauses that it ended, by column, as ISO 8601."""


def side_of(asked: Asked) -> By:
    """The side whose pause an actor sets and lifts."""
    return By.PRODUCER if asked.by.role is Role.PRODUCER else By.OPERATOR


def pause_batch(session: Session, asked: Asked, batch_id: uuid.UUID) -> uuid.UUID | None:
    """Stop new calls of the batch; None if it is paused already."""
    by = side_of(asked)
    if not pauses.pause(session, batch_id, by):
        return None
    about = about_batch(session, batch_id)
    return record(session, asked, ActionKind.PAUSE, about, options={"side": by})


def resume_batch(
    session: Session, asked: Asked, batch_id: uuid.UUID, by: By | None = None
) -> uuid.UUID | None:
    """Let calls of the batch go out again; None if it is not paused by this side, `by` or the actor's own.

    Raises PausedByOperatorError.
    """
    before = _pauses(session, batch_id)
    if not pauses.resume(session, batch_id, side_of(asked) if by is None else by):
        return None
    after = _pauses(session, batch_id)
    ended = {name: at for name, at in before.items() if at and not after[name]}
    about = about_batch(session, batch_id)
    return record(session, asked, ActionKind.RESUME, about, options={BEFORE: ended})


def pause_all(session: Session, asked: Asked) -> uuid.UUID | None:
    """Stop all new calls; None if they are stopped already."""
    if not pauses.pause(session, None, By.OPERATOR):
        return None
    return record(session, asked, ActionKind.PAUSE_ALL, EVERYTHING)


def resume_all(session: Session, asked: Asked) -> uuid.UUID | None:
    """Let calls go out again; None if they are not stopped."""
    paused_at = session.scalar(select(QUEUE_CLOCK.c.paused_at).with_for_update())
    if paused_at is None or not pauses.resume(session, None, By.OPERATOR):
        return None
    options = {BEFORE: {"paused_at": paused_at.isoformat()}}
    return record(session, asked, ActionKind.RESUME_ALL, EVERYTHING, options=options)


def approve_batch(session: Session, asked: Asked, batch_id: uuid.UUID) -> uuid.UUID | None:
    """Approve the batch's jobs at the price of its plan; None if it waits for no approval."""
    if not approval.approve(session, batch_id):
        return None
    ingest = session.execute(
        select(INGESTS.c.jobs, INGESTS.c.plan, BATCHES.c.budget)
        .join(BATCHES, BATCHES.c.id == INGESTS.c.batch_id)
        .where(INGESTS.c.batch_id == batch_id)
    ).one()
    credits_ = None if ingest.plan is None else most_credits(ingest.plan, ingest.budget)
    dollars = None if credits_ is None else credits_ * DOLLARS_A_CREDIT
    extent = Extent(ingest.jobs, ingest.jobs, credits_, dollars)
    return record(session, asked, ActionKind.APPROVE, about_batch(session, batch_id), extent)


def set_budget(session: Session, asked: Asked, batch_id: uuid.UUID, budget: int | None) -> uuid.UUID:
    """Limit the cost of the batch's calls, in credits; None for no limit."""
    this = select(BATCHES.c.budget).where(BATCHES.c.id == batch_id)
    before = session.execute(this.with_for_update(key_share=True)).scalar_one()
    pauses.set_budget(session, batch_id, budget)
    options = {"from": before, "to": budget}
    extent = Extent(credits=budget)
    return record(session, asked, ActionKind.BUDGET, about_batch(session, batch_id), extent, options=options)


def change_batch(
    session: Session, asked: Asked, batch_id: uuid.UUID, before: Changeable, change: BatchChange
) -> uuid.UUID:
    """Change a locked batch; a change of its budget is recorded as such. Raises WeightJustChangedError."""
    batch_changes.change_batch(session, batch_id, before, change)
    about = about_batch(session, batch_id)
    options: dict[str, Any] = {"fields": sorted(change)}
    if "budget" not in change or change["budget"] == before.budget:
        return record(session, asked, ActionKind.CHANGE_BATCH, about, options=options)
    options |= {"from": before.budget, "to": change["budget"]}
    extent = Extent(credits=change["budget"])
    return record(session, asked, ActionKind.BUDGET, about, extent, options=options)


def cancel_batch(session: Session, asked: Asked, batch_id: uuid.UUID) -> uuid.UUID | None:
    """Request the batch's cancellation; None if that is under way, or the batch has ended.

    Raises BatchIsEndingError.
    """
    return request_cancel(session, batch_id, asked)


def retry_batch(session: Session, asked: Asked, batch_id: uuid.UUID) -> uuid.UUID | None:
    """Request a retry of all jobs that failed or are held; None if one waits. Raises BatchIsEndingError."""
    return request_action(session, batch_id, ActionKind.RETRY, asked=asked)


def add_outputs(
    session: Session, asked: Asked, batch_id: uuid.UUID, renditions: Mapping[str, Mapping[str, str]]
) -> uuid.UUID | None:
    """Request renditions of all jobs; None if an action that will add them waits.

    Raises as `request_outputs` does.
    """
    return request_outputs(session, batch_id, renditions, asked)


def retry_outputs(session: Session, asked: Asked, batch_id: uuid.UUID) -> uuid.UUID | None:
    """Request that failed outputs are made again; None if that waits. Raises BatchIsEndingError."""
    return request_action(session, batch_id, ActionKind.RETRY_OUTPUTS, asked=asked)


def delete_batch(session: Session, asked: Asked, batch_id: uuid.UUID, *, objects: bool) -> uuid.UUID | None:
    """Request the batch's deletion; None if it is under way. Raises NotDeletableError."""
    return request_deletion(session, batch_id, objects=objects, asked=asked)


def _pauses(database: Database, batch_id: uuid.UUID) -> dict[str, str | None]:
    """The batch's pauses by column; its row is locked until the transaction ends."""
    this = select(*(BATCHES.c[by] for by in By)).where(BATCHES.c.id == batch_id)
    row = database.execute(this.with_for_update(key_share=True)).first()
    found = {} if row is None else row._mapping  # noqa: SLF001 - a public name
    return {str(by): found[by].isoformat() if found.get(by) else None for by in By}
