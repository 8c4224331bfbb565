"""Log of actions: who changed what, the latest first, in pages."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select

from cutout.enums import ActionKind, Role, Subject
from cutout.models import ACTIONS
from cutout.models.database import Database
from cutout.webhooks.deleted_jobs import first_id_of

MOST_PRUNED = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Conditions for listed actions; None is no condition. `who` is a name, or the id of a key."""

    producer_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    subject_id: uuid.UUID | None = None
    who: str | None = None
    kinds: Sequence[ActionKind] | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoggedAction:
    """One action. `actor_role` is null for one of a version that did not record it."""

    id: uuid.UUID
    kind: ActionKind
    actor_role: Role | None
    actor: str | None
    actor_key_id: uuid.UUID | None
    subject: Subject | None
    subject_id: uuid.UUID | None
    producer_id: uuid.UUID | None
    batch_id: uuid.UUID | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    changed: int
    expected: int | None
    credits: int | None
    dollars: Decimal | None
    reason: str | None
    code: str | None
    message: str | None
    undone_at: datetime | None
    undone_by: str | None


COLUMNS = [ACTIONS.c[name] for name in LoggedAction.__dataclass_fields__]


def find_actions(
    database: Database, wanted: ActionFilter, *, before: uuid.UUID | None = None, limit: int
) -> list[LoggedAction]:
    """The actions that match, the latest first, older than `before`; `limit` at most."""
    found = select(*COLUMNS).where(*_conditions(wanted)).order_by(ACTIONS.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(ACTIONS.c.id < before)
    return [_action(row) for row in database.execute(found)]


def _conditions(wanted: ActionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.producer_id is not None:
        conditions.append(ACTIONS.c.producer_id == wanted.producer_id)
    if wanted.batch_id is not None:
        conditions.append(ACTIONS.c.batch_id == wanted.batch_id)
    if wanted.subject_id is not None:
        conditions.append(ACTIONS.c.subject_id == wanted.subject_id)
    if wanted.kinds is not None:
        conditions.append(ACTIONS.c.kind.in_(wanted.kinds))
    if wanted.since is not None:
        # Ids are in the order of the times at which they were made.
        since = max(wanted.since, EPOCH)
        conditions += [ACTIONS.c.id >= first_id_of(since), ACTIONS.c.requested_at >= since]
    if wanted.who is not None:
        conditions.append(or_(ACTIONS.c.actor == wanted.who, _is_key(wanted.who)))
    return conditions


def _is_key(who: str) -> ColumnElement[bool]:
    try:
        return ACTIONS.c.actor_key_id == uuid.UUID(who)
    except ValueError:
        return ACTIONS.c.actor == who


def _action(row: Row[Any]) -> LoggedAction:
    values = row._asdict()
    role, subject = values["actor_role"], values["subject"]
    values |= {
        "kind": ActionKind(row.kind),
        "actor_role": None if role is None else Role(role),
        "subject": None if subject is None else Subject(subject),
    }
    return LoggedAction(**values)


def prune_actions(database: Database, keep_days: int) -> int:
    """Delete the records of finished actions that are older, at most MOST_PRUNED; returns their number."""
    now: datetime = database.execute(select(func.now())).scalar_one()
    old = select(ACTIONS.c.id).where(
        ACTIONS.c.id < first_id_of(now - timedelta(days=keep_days)), ACTIONS.c.finished_at.is_not(None)
    )
    chosen = old.order_by(ACTIONS.c.id).limit(MOST_PRUNED)
    pruned = database.execute(ACTIONS.delete().where(ACTIONS.c.id.in_(chosen)).returning(ACTIONS.c.id))
    return len(pruned.all())
