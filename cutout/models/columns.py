"""Our words, as SQL has them."""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import CheckConstraint, ColumnElement, Text, literal_column, text


def one_of(column: str, words: Iterable[str]) -> str:
    """A condition: the column holds one of these words."""
    return f"{column} IN ({_listed(words)})"


def array_of(words: Iterable[str]) -> str:
    """These words as an array."""
    return f"ARRAY[{_listed(words)}]"


def constant(word: StrEnum) -> ColumnElement[str]:
    """One of our words, written into a statement: a partial index serves only what the planner can read."""
    return literal_column(f"'{word}'", Text)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


NEW_ID = text("uuidv7()")
NOW = text("now()")
# Of an index: the producer, or the nil UUID for what belongs to none. As Postgres writes it.
OWNER = "COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)"


def address(column: str) -> CheckConstraint:
    """A constraint: what the column holds is an address of the web."""
    # An address without a host would keep what it belongs to from ever being told, and so from ending.
    return CheckConstraint(f"{column} ~ '^https?://[^/?#]+'", name=f"{column}_has_a_host")
