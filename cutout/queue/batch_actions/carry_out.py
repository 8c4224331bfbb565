"""Turns: one portion of one action after another, producers in turn, each portion in its own transaction.

An action's row holds where its next portion begins. A portion locks the row, changes jobs and writes the new
position in one transaction: a process that dies leaves it done or not begun, and two processes at once do it
once.
"""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Connection, Engine, Row, Text, Uuid, bindparam, func, null, select, text, update

from cutout.enums import ActionKind
from cutout.models import ACTIONS
from cutout.models.columns import OWNER
from cutout.models.database import Database

# Portions begun in succession of which none was completed, as if it had killed its process.
MOST_TRIES = 8
LONGEST_DELAY_S = 60.0
NIL, LAST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)

GIVEN_UP = "INTERNAL_ERROR"
GIVEN_UP_MESSAGE = (
    "an unexpected error, again and again; what was changed stays so. Ask for it again, and tell the operator"
    " if it ends like this once more"
)

# The next action of a producer: due, and the first of its batch.
NEXT_OF_OWNER = f"""
    SELECT actions.id FROM actions
    WHERE {OWNER} = owners.owner AND finished_at IS NULL AND due_at <= now() AND kind = ANY(:kinds)
    AND NOT EXISTS (
        SELECT FROM actions AS earlier
        WHERE earlier.batch_id = actions.batch_id AND earlier.finished_at IS NULL AND earlier.id < actions.id
    )
    AND NOT EXISTS (
        SELECT FROM producers WHERE producers.id = owners.owner AND producers.suspended_at IS NOT NULL
    )
    ORDER BY actions.id LIMIT 1
"""  # noqa: S608 - constants
NEXT_OWNER = f"SELECT {OWNER} FROM actions WHERE finished_at IS NULL AND {OWNER} %s ORDER BY {OWNER} LIMIT 1"  # noqa: S608
# Producers from `first` on, by a probe of the index each, until one has an action to carry on.
NEXT = text(
    f"""
    WITH RECURSIVE turns AS (
        SELECT owners.owner, next.id
        FROM (SELECT ({NEXT_OWNER % ">= :first"}) AS owner) AS owners
        LEFT JOIN LATERAL ({NEXT_OF_OWNER}) AS next ON true
        UNION ALL
        SELECT owners.owner, next.id
        FROM turns CROSS JOIN LATERAL (SELECT ({NEXT_OWNER % "> turns.owner"}) AS owner) AS owners
        LEFT JOIN LATERAL ({NEXT_OF_OWNER}) AS next ON true
        WHERE turns.owner IS NOT NULL AND turns.id IS NULL
    )
    SELECT owner, id FROM turns WHERE id IS NOT NULL
    """  # noqa: S608
).bindparams(bindparam("first", type_=Uuid), bindparam("kinds", type_=ARRAY(Text)))


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn of one action. `owner` is its producer, for the next turn to go on behind."""

    owner: uuid.UUID
    action_id: uuid.UUID
    batch_id: uuid.UUID
    kind: ActionKind
    tries: int


@dataclass(frozen=True, slots=True)
class HeldAction:
    """An unfinished action whose row the transaction has locked."""

    id: uuid.UUID
    batch_id: uuid.UUID
    producer_id: uuid.UUID | None
    kind: ActionKind
    options: dict[str, Any]
    position: dict[str, str] | None
    started_at: datetime
    changed: int


@dataclass(frozen=True, slots=True)
class Portion:
    """The result of a portion: what it changed, and the next position; None if the action is finished.

    `code` and `message` say why it is finished before all was changed.
    """

    changed: int
    position: dict[str, str] | None
    code: str | None = None
    message: str | None = None


TakePortion = Callable[[Connection, HeldAction], Portion]


def has_turn(database: Database, kinds: Collection[ActionKind]) -> bool:
    """Whether `take_turn` would find an action of these kinds."""
    return _from(database, kinds, NIL) is not None


def take_turn(engine: Engine, kinds: Collection[ActionKind], last: uuid.UUID) -> Turn | None:
    """The next action of these kinds to carry on, of the first producer behind `last`; None if none is due.

    Its try is counted before its portion begins. One whose last tries all failed is finished with an error.
    """
    with engine.begin() as connection:
        while (found := _next(connection, kinds, last)) is not None:
            row = connection.execute(
                update(ACTIONS)
                .where(ACTIONS.c.id == found.id, ACTIONS.c.finished_at.is_(None))
                .values(started_at=func.coalesce(ACTIONS.c.started_at, func.now()), tries=ACTIONS.c.tries + 1)
                .returning(ACTIONS.c.batch_id, ACTIONS.c.kind, ACTIONS.c.tries)
            ).first()
            if row is None:
                continue
            if row.tries <= MOST_TRIES:
                return Turn(found.owner, found.id, row.batch_id, ActionKind(row.kind), row.tries)
            _finish(connection, found.id, GIVEN_UP, GIVEN_UP_MESSAGE)
    return None


def _next(
    connection: Connection, kinds: Collection[ActionKind], last: uuid.UUID
) -> Row[uuid.UUID, uuid.UUID] | None:
    behind = uuid.UUID(int=min(last.int + 1, LAST.int))
    return _from(connection, kinds, behind) or _from(connection, kinds, NIL)


def _from(
    database: Database, kinds: Collection[ActionKind], first: uuid.UUID
) -> Row[uuid.UUID, uuid.UUID] | None:
    return database.execute(NEXT, {"first": first, "kinds": list(kinds)}).first()


def carry_on(engine: Engine, action_id: uuid.UUID, take_portion: TakePortion) -> bool:
    """Carry out one portion; False if the action is finished, or another process has it."""
    with engine.begin() as connection:
        action = hold(connection, action_id)
        if action is None:
            return False
        record(connection, action_id, take_portion(connection, action))
    return True


def hold(connection: Connection, action_id: uuid.UUID) -> HeldAction | None:
    """Lock an action's row in the caller's transaction; None if it is finished or locked."""
    columns = [ACTIONS.c[name] for name in HeldAction.__dataclass_fields__]
    row = connection.execute(
        select(*columns)
        .where(ACTIONS.c.id == action_id, ACTIONS.c.finished_at.is_(None), ACTIONS.c.started_at.is_not(None))
        .with_for_update(skip_locked=True)
    ).first()
    return None if row is None else HeldAction(**{**row._mapping, "kind": ActionKind(row.kind)})  # noqa: SLF001


def record(connection: Connection, action_id: uuid.UUID, portion: Portion) -> None:
    """Write the result of a portion into the action's row, in the portion's transaction."""
    connection.execute(
        update(ACTIONS)
        .where(ACTIONS.c.id == action_id)
        .values(
            changed=ACTIONS.c.changed + portion.changed,
            tries=0,
            position=portion.position,
            code=portion.code,
            message=portion.message,
            finished_at=None if portion.position is not None else func.now(),
        )
    )


def postpone(engine: Engine, action_id: uuid.UUID, delay_s: float, code: str, message: str) -> None:
    """Let an action wait for something outside of it, which counts as no try; its row says for what."""
    _delay(engine, action_id, delay_s, code=code, message=message, tries=0)


def fail(engine: Engine, turn: Turn) -> None:
    """Let an action wait after an unexpected error, longer after each."""
    _delay(engine, turn.action_id, min(2.0**turn.tries, LONGEST_DELAY_S))


def _delay(engine: Engine, action_id: uuid.UUID, delay_s: float, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(
            update(ACTIONS)
            .where(ACTIONS.c.id == action_id, ACTIONS.c.finished_at.is_(None))
            .values(due_at=func.now() + timedelta(seconds=delay_s), **values)
        )


def _finish(connection: Connection, action_id: uuid.UUID, code: str, message: str) -> None:
    connection.execute(
        update(ACTIONS)
        .where(ACTIONS.c.id == action_id)
        .values(finished_at=func.now(), position=null(), code=code, message=message)
    )
