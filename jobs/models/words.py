"""Our words, as SQL has them."""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import ColumnElement, Text, literal_column


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
