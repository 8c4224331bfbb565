"""Pages of lists."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, its items still as JSON; it may be short although more follow."""

    data: tuple[Any, ...]
    next_cursor: str | None
