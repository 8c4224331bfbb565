"""Actions as the producer sees them whose batches, jobs and other things they changed."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.schemas.examples import A_JOB, A_MOMENT
from api.schemas.fields import NextCursor
from cutout.enums import ActionKind, Role, Subject
from cutout.status.action_log import LoggedAction
from cutout.status.action_status import ActionStatus
from cutout.status.producer_texts import text_for_producer


class ActionErrorView(BaseModel):
    """Why an action waits, or why it ended before all was changed."""

    code: Annotated[str, Field(examples=["QUOTA_REACHED"])]
    message: str


class ActionView(BaseModel):
    """A change of a whole batch, which continues by itself once it was asked for."""

    id: Annotated[uuid.UUID, Field(examples=[A_JOB])]
    kind: Annotated[ActionKind, Field(examples=["cancel"])]
    requested_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    started_at: Annotated[
        datetime | None, Field(description="Null while it waits for those before it, or for a turn")
    ]
    finished_at: Annotated[datetime | None, Field(description="Null while it waits or is carried out")]
    changed: Annotated[
        int,
        Field(description="Jobs that it changed so far; outputs, if it is about those", examples=[98_000]),
    ]
    error: Annotated[
        ActionErrorView | None,
        Field(description="Why it waits, or why it ended before all was changed; null else"),
    ]


class ActionList(BaseModel):
    """A page of actions."""

    data: list[ActionView]
    next_cursor: NextCursor


class ActionRecordView(BaseModel):
    """A change that was asked for: by whom, of what, how many, and what became of it."""

    id: Annotated[uuid.UUID, Field(examples=[A_JOB])]
    kind: Annotated[ActionKind, Field(examples=["pause"])]
    by: Annotated[
        Literal["producer", "operator"] | None,
        Field(description="A key of yours, or the operator; null if that was not recorded"),
    ]
    key_id: Annotated[uuid.UUID | None, Field(description="The key, if it is yours", examples=[A_JOB])]
    key_name: Annotated[str | None, Field(description="Its name", examples=["storefront"])]
    subject: Annotated[Subject, Field(examples=["batch"])]
    subject_id: Annotated[uuid.UUID | None, Field(description="Its id", examples=[A_JOB])]
    batch_id: Annotated[
        uuid.UUID | None,
        Field(description="The batch, or that of the job; null without one", examples=[A_JOB]),
    ]
    requested_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    finished_at: Annotated[datetime | None, Field(description="Null while it waits or is carried out")]
    changed: Annotated[int, Field(description="So many were changed so far", examples=[1])]
    credits: Annotated[
        int | None, Field(description="The most credits that it may cost; null if that was not known")
    ]
    undone_at: Annotated[datetime | None, Field(description="When it was undone")]
    error: Annotated[
        ActionErrorView | None,
        Field(description="Why it waits, or why it ended before all was changed; null else"),
    ]


class ActionRecordList(BaseModel):
    """A page of records of actions, the latest first."""

    data: list[ActionRecordView]
    next_cursor: NextCursor


def view_record(action: LoggedAction) -> ActionRecordView:
    """The record for the producer that it concerns, which learns of operators only that it was one."""
    is_own = action.actor_role is Role.PRODUCER
    by: Literal["producer", "operator"] | None = None
    if action.actor_role is not None:
        by = "producer" if is_own else "operator"
    return ActionRecordView(
        id=action.id,
        kind=action.kind,
        by=by,
        key_id=action.actor_key_id if is_own else None,
        key_name=action.actor if is_own else None,
        subject=action.subject or Subject.BATCH,
        subject_id=action.subject_id or action.batch_id,
        batch_id=action.batch_id,
        requested_at=action.requested_at,
        finished_at=action.finished_at,
        changed=action.changed,
        credits=action.credits,
        undone_at=action.undone_at,
        error=_error(action.code, action.message),
    )


def view_action(action: ActionStatus) -> ActionView:
    """The action without what only the operator can use."""
    return ActionView(
        id=action.id,
        kind=action.kind,
        requested_at=action.requested_at,
        started_at=action.started_at,
        finished_at=action.finished_at,
        changed=action.changed,
        error=_error(action.code, action.message),
    )


def _error(code: str | None, message: str | None) -> ActionErrorView | None:
    if code is None or message is None:
        return None
    return ActionErrorView(code=code, message=text_for_producer(message))
