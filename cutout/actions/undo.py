"""Undo of actions that can be reversed, for a short time, as long as nobody changed the same thing since."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table, func, null, select, update
from sqlalchemy.orm import Session

from cutout.actions.batches import BEFORE
from cutout.actions.schedules import FIRE_AT, SIDE
from cutout.enums import ActionKind, Role, Subject
from cutout.models import ACTIONS, BATCHES, QUEUE_CLOCK, SCHEDULES
from cutout.producers.action_rights import require_right
from cutout.producers.actors import Asked
from cutout.queue.blocks.pauses import By
from cutout.schedules import skips

UNDO_SECONDS = 10
PAUSES = frozenset({ActionKind.PAUSE, ActionKind.PAUSE_ALL, ActionKind.PAUSE_SCHEDULE})
RESUMPTIONS = frozenset({ActionKind.RESUME, ActionKind.RESUME_ALL, ActionKind.RESUME_SCHEDULE})
SKIPS = frozenset({ActionKind.SKIP_RUN, ActionKind.RESTORE_RUN})
REVERSIBLE = PAUSES | RESUMPTIONS | SKIPS
OPPOSITES = {
    ActionKind.PAUSE: ActionKind.RESUME,
    ActionKind.PAUSE_ALL: ActionKind.RESUME_ALL,
    ActionKind.PAUSE_SCHEDULE: ActionKind.RESUME_SCHEDULE,
    ActionKind.RESUME: ActionKind.PAUSE,
    ActionKind.RESUME_ALL: ActionKind.PAUSE_ALL,
    ActionKind.RESUME_SCHEDULE: ActionKind.PAUSE_SCHEDULE,
    ActionKind.SKIP_RUN: ActionKind.RESTORE_RUN,
    ActionKind.RESTORE_RUN: ActionKind.SKIP_RUN,
}
# A pause of everything has no side.
OF_ALL = "paused_at"
TABLES: Mapping[Subject, Table] = {
    Subject.BATCH: BATCHES,
    Subject.SCHEDULE: SCHEDULES,
    Subject.EVERYTHING: QUEUE_CLOCK,
}


class NotUndoneError(Exception):
    """The action cannot be undone; the text says why. Nothing was changed."""


def undo(session: Session, asked: Asked, action_id: uuid.UUID) -> None:
    """Reverse an action within UNDO_SECONDS, and write that into its row, in the caller's transaction.

    Raises NotUndoneError; RightMissingError for an operator's key without the right to do it. A producer
    undoes what a key of its own did, nothing else.
    """
    action = _locked(session, asked, action_id)
    kind = ActionKind(action.kind)
    require_right(asked.by, kind)
    if kind not in REVERSIBLE:
        raise NotUndoneError(f"this action ({kind}) cannot be undone")
    if action.actor_key_id != asked.by.key_id:
        # To do the opposite of what somebody else did needs the right for that, too.
        require_right(asked.by, OPPOSITES[kind])
    if action.undone_at is not None:
        raise NotUndoneError(f"it was undone already, by {action.undone_by}")
    if action.now - action.requested_at > timedelta(seconds=UNDO_SECONDS):
        raise NotUndoneError(f"more than {UNDO_SECONDS} s have passed; do the opposite instead")
    if not _reverse_of(kind)(session, action):
        raise NotUndoneError("it was changed again since; look at it, and do what is needed now")
    session.execute(
        update(ACTIONS)
        .where(ACTIONS.c.id == action_id)
        .values(undone_at=func.now(), undone_by=asked.by.shown_name)
    )


def _reverse_of(kind: ActionKind) -> Callable[[Session, Row[*tuple[Any, ...]]], bool]:
    if kind in SKIPS:
        return _turn_skip
    return _lift if kind in PAUSES else _pause_again


def _turn_skip(session: Session, action: Row[*tuple[Any, ...]]) -> bool:
    """Skip the run again, or no longer; False if its time has come, or if that was done already.

    Only the skip of the side whose it was is turned: another's may stand in its place.
    """
    turn = skips.restore if action.kind == ActionKind.SKIP_RUN else skips.skip
    fire_at = datetime.fromisoformat(action.options[FIRE_AT])
    return turn(session, action.subject_id, fire_at, By(action.options.get(SIDE, By.PRODUCER)))


def _locked(session: Session, asked: Asked, action_id: uuid.UUID) -> Row[*tuple[Any, ...]]:
    names = ["id", "kind", "options", "subject", "subject_id", "requested_at"]
    names += ["undone_at", "undone_by", "actor_key_id"]
    this = select(*(ACTIONS.c[name] for name in names), func.clock_timestamp().label("now"))
    this = this.where(ACTIONS.c.id == action_id).with_for_update()
    if asked.by.role is Role.PRODUCER:
        this = this.where(
            ACTIONS.c.producer_id == asked.by.producer_id, ACTIONS.c.actor_role == Role.PRODUCER
        )
    found = session.execute(this).first()
    if found is None:
        raise NotUndoneError(f"there is no action {action_id} of yours")
    return found


def _lift(session: Session, action: Row[*tuple[Any, ...]]) -> bool:
    """End the pause that the action made, by its time; False if that is not the present one."""
    side = action.options.get(SIDE, OF_ALL)
    table = TABLES[Subject(action.subject)]
    return _set(session, action, table.c[side] == action.requested_at, values={side: null()})


def _pause_again(session: Session, action: Row[*tuple[Any, ...]]) -> bool:
    """Make the pauses again that the action ended; False if there was another pause or resumption since."""
    table = TABLES[Subject(action.subject)]
    # Locked first: a pause that is just being made has its row once this is.
    session.execute(select(table.c.id).where(_is_subject(table, action)).with_for_update(key_share=True))
    later = select(ACTIONS.c.id).where(
        # Ids grow with time: these are the rows of the last seconds.
        ACTIONS.c.id > action.id,
        ACTIONS.c.kind.in_(PAUSES | RESUMPTIONS),
        ACTIONS.c.subject == action.subject,
        ACTIONS.c.subject_id.is_not_distinct_from(action.subject_id),
    )
    if session.scalar(later.limit(1)) is not None:
        return False
    before = {side: datetime.fromisoformat(at) for side, at in action.options[BEFORE].items()}
    condition = [table.c[side].is_(None) for side in before]
    return _set(session, action, *condition, values=before)


def _set(session: Session, action: Row[*tuple[Any, ...]], *condition: Any, values: Mapping[str, Any]) -> bool:
    table = TABLES[Subject(action.subject)]
    revision = {"revision": table.c.revision + 1} if "revision" in table.c else {}
    change = update(table).where(_is_subject(table, action), *condition).values({**values, **revision})
    return session.scalar(change.returning(table.c.id)) is not None


def _is_subject(table: Table, action: Row[*tuple[Any, ...]]) -> Any:
    return table.c.id == (1 if table is QUEUE_CLOCK else action.subject_id)
