"""Actions in words: for the notice after a change, a thing's life, and the list of all."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from console.templates import price_of
from console.viewer import Viewer
from cutout.actions.undo import REVERSIBLE, UNDO_SECONDS
from cutout.enums import ActionKind, Role, Subject
from cutout.models import ACTIONS
from cutout.models.database import Database
from cutout.status.action_log import ActionFilter, LoggedAction, find_actions
from cutout.status.producer_texts import text_for_producer

K = ActionKind
# A page that leads back to an action tells it for so long.
TOLD_SECONDS = 60
DONE = {
    K.PAUSE: "Paused: no new call of this batch goes out",
    K.RESUME: "Resumed",
    K.PAUSE_ALL: "All calls are paused",
    K.RESUME_ALL: "Calls go out again",
    K.PAUSE_SCHEDULE: "Paused: it fires no run",
    K.RESUME_SCHEDULE: "Resumed: it fires again from now on",
    K.RUN_SCHEDULE: "A run was fired",
    K.CANCEL: "It is being cancelled: no call of it begins any more",
    K.DELETE: "The batch is being deleted",
    K.BUDGET: "The budget is another one",
    K.CANCEL_JOB: "Cancelled: no call of it begins any more",
    K.RETRY_JOB: "It is back in the queue",
    K.RELEASE_JOB: "It is back in the queue",
    K.ACCEPT_JOB: "Accepted: what came becomes its cutout, without a call",
    K.SKIP_RUN: "The next run is skipped; those after it fire as ever",
    K.RESTORE_RUN: "The next run fires as ever",
}
PLACES = {
    Subject.BATCH: "/console/batches",
    Subject.JOB: "/console/jobs",
    Subject.SCHEDULE: "/console/schedules",
}
WORDS = {
    K.ADD_BATCH: "batch added",
    K.PAUSE: "batch paused",
    K.RESUME: "batch resumed",
    K.PAUSE_ALL: "all calls paused",
    K.RESUME_ALL: "all calls resumed",
    K.APPROVE: "plan approved",
    K.BUDGET: "budget changed",
    K.CANCEL: "batch cancelled",
    K.RETRY: "failed and held jobs retried",
    K.DELETE: "batch deleted",
    K.CHANGE_BATCH: "batch changed",
    K.CANCEL_JOB: "job cancelled",
    K.RETRY_JOB: "job retried",
    K.RELEASE_JOB: "job released",
    K.ACCEPT_JOB: "unexpected result accepted",
    K.SKIP_RUN: "next run skipped",
    K.RESTORE_RUN: "skipped run restored",
    K.REPLAY_DELIVERY: "webhook sent again",
}


def find_action(session: Session, viewer: Viewer, action_id: uuid.UUID) -> LoggedAction | None:
    """The action, if the viewer may see it."""
    columns = [ACTIONS.c[name] for name in LoggedAction.__dataclass_fields__]
    this = select(*columns).where(ACTIONS.c.id == action_id)
    if not viewer.is_operator:
        this = this.where(ACTIONS.c.producer_id == viewer.producer_id)
    row = session.execute(this).first()
    if row is None:
        return None
    values = row._asdict()
    role = values["actor_role"]
    return LoggedAction(**{**values, "kind": K(row.kind), "actor_role": None if role is None else Role(role)})


def is_undoable(action: LoggedAction) -> bool:
    """Whether it can be undone now, as far as time and kind say."""
    age = datetime.now(UTC) - action.requested_at
    return action.kind in REVERSIBLE and action.undone_at is None and age < timedelta(seconds=UNDO_SECONDS)


def is_fresh(action: LoggedAction) -> bool:
    """Whether a page still tells it."""
    return datetime.now(UTC) - action.requested_at < timedelta(seconds=TOLD_SECONDS)


def notice_text(action: LoggedAction) -> str:
    """One or two sentences for whoever has just done it."""
    if action.undone_at is not None:
        return "Undone."
    if action.kind is K.RETRY:
        return f"{_jobs(action.expected or action.changed)} go back in the queue{_price(action)}."
    if action.kind is K.REPLAY_DELIVERY:
        return "It is sent again." if action.changed == 1 else f"{action.changed:,} messages are sent again."
    if action.kind is K.BUDGET and action.credits is not None:
        return f"The budget is {action.credits:,} credits now."
    return f"{DONE.get(action.kind, 'Done')}{_price(action)}."


def action_words(action: LoggedAction, viewer: Viewer) -> str:
    """The change in words: on how many, at what price, by whom and why; of others producers learn neither."""
    words = WORDS.get(action.kind, str(action.kind).replace("_", " "))
    if action.expected is not None and action.expected != action.changed:
        words += f": {action.changed:,} of {action.expected:,}"
    elif action.changed > 1:
        words += f": {action.changed:,}"
    words += f"{_price(action)} by {_actor(action, viewer)}"
    if action.reason and _may_know(action, viewer):
        words += f": “{action.reason}”"
    if action.undone_at is not None:
        words += f" · undone by {action.undone_by if _may_know(action, viewer) else 'the operator'}"
    elif action.finished_at is None:
        words += " · under way"
    if action.message:
        message = action.message if viewer.is_operator else text_for_producer(action.message)
        words += f" · {message}"
    return words


@dataclass(frozen=True, slots=True)
class ShownAction:
    """An action as a list shows it; `href` leads to what it is `about`, if that is not the page itself."""

    id: uuid.UUID
    at: datetime
    text: str
    about: str = ""
    href: str | None = None


def shown_action(action: LoggedAction, viewer: Viewer, page_of: uuid.UUID | None = None) -> ShownAction:
    """The action for a list on the page of `page_of`."""
    place = PLACES.get(action.subject) if action.subject else None
    href = f"{place}/{action.subject_id}" if place and action.subject_id not in (None, page_of) else None
    about = f"{action.subject} …{str(action.subject_id)[-8:]}" if href else ""
    return ShownAction(action.id, action.requested_at, action_words(action, viewer), about, href)


def actions_on(database: Database, subject_id: uuid.UUID, limit: int) -> list[LoggedAction]:
    """The latest actions on one thing itself, the latest first."""
    return find_actions(database, ActionFilter(subject_id=subject_id), limit=limit)


def _actor(action: LoggedAction, viewer: Viewer) -> str:
    if action.actor_role is None:
        return "somebody"
    return action.actor or "somebody" if _may_know(action, viewer) else "the operator"


def _may_know(action: LoggedAction, viewer: Viewer) -> bool:
    return viewer.is_operator or action.actor_role is Role.PRODUCER


def _price(action: LoggedAction) -> str:
    if not action.credits or action.kind is K.BUDGET:
        return ""
    dollars = f", {price_of(action.credits)}"
    return f", at most {action.credits:,} {'credit' if action.credits == 1 else 'credits'}{dollars}"


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number:,} jobs"
