"""Status of a batch's actions, and pages of them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from cutout.enums import CARRIED_OUT, ActionKind
from cutout.models import ACTIONS, constant
from cutout.models.database import Database
from cutout.status.pages import Order, Page, PageRequest

# Those that are not finished are among the last ones: one that runs, and one of each kind that waits.
MOST_READ = 16
MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ActionStatus:
    """A change of a whole batch. `code` and `message` say why it waits, or ended before all was changed."""

    id: uuid.UUID
    kind: ActionKind
    options: dict[str, Any]
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    changed: int
    code: str | None
    message: str | None


# As the index has them: however often a batch was paused, that costs nothing here.
IS_CARRIED_OUT = ACTIONS.c.kind.in_([constant(kind) for kind in CARRIED_OUT])
COLUMNS = [ACTIONS.c[name] for name in ActionStatus.__dataclass_fields__]


def recent_actions(database: Database, batch_id: uuid.UUID) -> tuple[ActionStatus, ...]:
    """The batch's actions that are not finished, and the last finished ones, at most MOST_SHOWN of both.

    The latest request comes first. There may be more only if all of them are unfinished.
    """
    of_batch = (ACTIONS.c.batch_id == batch_id, IS_CARRIED_OUT)
    latest = select(*COLUMNS).where(*of_batch).order_by(ACTIONS.c.id.desc())
    found = [_action(row) for row in database.execute(latest.limit(MOST_READ))]
    room = max(MOST_SHOWN - sum(each.finished_at is None for each in found), 0)
    finished = {each.id for each in [each for each in found if each.finished_at is not None][:room]}
    return tuple(each for each in found if each.finished_at is None or each.id in finished)


def list_actions(database: Database, batch_id: uuid.UUID, page: PageRequest) -> Page[ActionStatus]:
    """A page of the batch's actions."""
    newest = page.order is Order.NEWEST
    found = select(*COLUMNS).where(ACTIONS.c.batch_id == batch_id, IS_CARRIED_OUT)
    if page.after is not None:
        found = found.where(ACTIONS.c.id < page.after if newest else ACTIONS.c.id > page.after)
    found = found.order_by(ACTIONS.c.id.desc() if newest else ACTIONS.c.id).limit(page.limit + 1)
    rows: Sequence[ActionStatus] = [_action(row) for row in database.execute(found)]
    shown = rows[: page.limit]
    return Page(shown, shown[-1].id if len(rows) > page.limit else None)


def _action(row: Row[*tuple[Any, ...]]) -> ActionStatus:
    return ActionStatus(**{**row._mapping, "kind": ActionKind(row.kind)})  # noqa: SLF001 - a public name
