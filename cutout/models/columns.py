"""Shared parts of the tables: lists of words as SQL, default values, owners, constraints."""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import CheckConstraint, ColumnElement, Text, Uuid, literal_column, text

from cutout.enums import QueueState, State, Step


def one_of(column: str, words: Iterable[str]) -> str:
    """The condition that the column holds one of these words."""
    return f"{column} IN ({_listed(words)})"


def array_of(words: Iterable[str]) -> str:
    """An SQL array of these words."""
    return f"ARRAY[{_listed(words)}]"


def constant(word: StrEnum) -> ColumnElement[str]:
    """A word written into a statement as a literal: the planner matches partial indexes by literals only."""
    return literal_column(f"'{word}'", Text)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


NEW_ID = text("uuidv7()")
NOW = text("now()")
# The owner in an index: the producer, or the nil UUID for rows without one. As Postgres writes it.
_NIL = "'00000000-0000-0000-0000-000000000000'::uuid"
OWNER = f"COALESCE(producer_id, {_NIL})"
NIL_OWNER = literal_column(_NIL, Uuid)


def address(column: str) -> CheckConstraint:
    """The constraint that the column holds an http or https URL with a host."""
    # A URL without a host could never be notified, so its job or batch would never end.
    return CheckConstraint(f"{column} ~ '^https?://[^/?#]+'", name=f"{column}_has_a_host")


# States of a job as literals.
QUEUED = constant(State.QUEUED)
RUNNING = constant(State.RUNNING)
HELD = constant(State.HELD)
READY = constant(QueueState.READY)
DISPATCHED = constant(QueueState.DISPATCHED)
REUSING = constant(QueueState.REUSING)
DELAYED = constant(QueueState.DELAYED)
WAITING = constant(QueueState.WAITING)
SOURCE_LIMIT = constant(QueueState.SOURCE_LIMIT)
BLOCKED = constant(QueueState.BLOCKED)
CALL_STEP = constant(Step.CALL)
COPY_STEP = constant(Step.COPY)
