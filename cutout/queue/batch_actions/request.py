"""Requests of actions: a row each, in the caller's transaction. A leading dispatcher carries them out."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from cutout.enums import ActionKind, Subject
from cutout.models import ACTIONS, BATCHES, constant
from cutout.models.database import Database
from cutout.producers.action_record import About, Extent, about_batch, insert_action, record
from cutout.producers.actors import Asked
from cutout.queue.batch_actions.locks import lock_actions
from cutout.queue.batch_actions.unfinished import BatchIsEndingError, ending
from cutout.queue.batch_progress import HAS_MORE
from cutout.queue.blocks.pauses import NEXT_REVISION
from cutout.queue.bulk import begin_cancelling
from cutout.queue.outputs.ask import add_renditions

RENDITIONS = "renditions"


NOTHING_YET = Extent(changed=0)


def request_cancel(database: Database, batch_id: uuid.UUID, asked: Asked | None = None) -> uuid.UUID | None:
    """Let no call of the batch begin from now on, and its jobs be cancelled; None if that is under way.

    Also None if the batch has ended. Raises BatchIsEndingError while it is being deleted.
    """
    lock_actions(database, batch_id)
    if ending(database, batch_id) is ActionKind.DELETE:
        raise BatchIsEndingError(batch_id, ActionKind.DELETE)
    has_changed = begin_cancelling(database, batch_id)
    if not has_more(database, batch_id):
        # All that was left of it was a retry that waited.
        return _done(database, batch_id, ActionKind.CANCEL, asked) if has_changed else None
    return request_action(database, batch_id, ActionKind.CANCEL, asked=asked)


def request_outputs(
    database: Database,
    batch_id: uuid.UUID,
    renditions: Mapping[str, Mapping[str, str]],
    asked: Asked | None = None,
) -> uuid.UUID | None:
    """Let all jobs of the batch get these renditions; None if an action that will add them waits.

    Raises as `add_renditions` and `request_action` do.
    """
    lock_actions(database, batch_id)
    are_new = add_renditions(database, batch_id, renditions)
    options = {RENDITIONS: dict(renditions)}
    requested = request_action(database, batch_id, ActionKind.ADD_OUTPUTS, options, asked=asked)
    if requested is None and are_new:
        # The one that waits adds these, too.
        _done(database, batch_id, ActionKind.ADD_OUTPUTS, asked, options)
    return requested


def request_action(
    database: Database,
    batch_id: uuid.UUID,
    kind: ActionKind,
    options: Mapping[str, Any] | None = None,
    *,
    asked: Asked | None = None,
    extent: Extent = NOTHING_YET,
) -> uuid.UUID | None:
    """Add an action, after those that the batch has; None if one that will do the same waits.

    Raises BatchIsEndingError while the batch is being deleted, and for a retry while it is being cancelled.
    """
    lock_actions(database, batch_id)
    # The batch's own row: a job that is queued again, or enqueued, changes it.
    batch = database.execute(
        select(BATCHES.c.producer_id).where(BATCHES.c.id == batch_id).with_for_update(key_share=True)
    ).one()
    present = ending(database, batch_id)
    if present is ActionKind.DELETE or (present is not None and kind is ActionKind.RETRY):
        raise BatchIsEndingError(batch_id, present)
    if present is kind is ActionKind.CANCEL:
        return None
    waits = select(ACTIONS.c.id).where(
        ACTIONS.c.batch_id == batch_id,
        ACTIONS.c.kind == constant(kind),
        ACTIONS.c.started_at.is_(None),
        ACTIONS.c.finished_at.is_(None),
    )
    if database.scalar(waits) is not None:
        return None
    about = About(Subject.BATCH, batch_id, batch.producer_id, batch_id)
    return add_action(database, about, kind, options, asked=asked, extent=extent)


def add_action(
    database: Database,
    batch: About,
    kind: ActionKind,
    options: Mapping[str, Any] | None = None,
    *,
    asked: Asked | None = None,
    extent: Extent = NOTHING_YET,
) -> uuid.UUID:
    """Insert the row and return its id; the caller holds the batch's lock and has looked for others.

    The batch's revision rises by one; that of a cancellation has risen when it began.
    """
    if kind is not ActionKind.CANCEL:
        database.execute(update(BATCHES).where(BATCHES.c.id == batch.id).values(NEXT_REVISION))
    return insert_action(database, asked, kind, batch, extent, options=dict(options or {}))


def _done(
    database: Database,
    batch_id: uuid.UUID,
    kind: ActionKind,
    asked: Asked | None,
    options: Mapping[str, Any] | None = None,
) -> uuid.UUID | None:
    """Record a request after which nothing is left to be carried out."""
    if asked is None:
        return None
    extent = Extent(changed=0)
    return record(database, asked, kind, about_batch(database, batch_id), extent, options=options)


def has_more(database: Database, batch_id: uuid.UUID) -> bool:
    """Whether the batch has a job that has not ended, or is still being read."""
    return database.scalar(select(BATCHES.c.id).where(BATCHES.c.id == batch_id, HAS_MORE)) is not None
