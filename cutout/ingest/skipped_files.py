"""Files that are not taken: counted by reason, with the first names of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cutout.ingest.sources.readable_names import readable

MOST_NAMES = 5
LONGEST_NAME = 200


@dataclass(slots=True)
class Reason:
    """How many files were left out for one reason, and the first of them."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        """Count `count` files, of which `name` is the first."""
        self.count += count
        if len(self.names) < MOST_NAMES:
            self.names.append(readable(name)[:LONGEST_NAME])


class Skipped:
    """Reasons are few and fixed, so that memory does not grow with the files."""

    def __init__(self) -> None:
        self.reasons: dict[str, Reason] = {}

    @property
    def total(self) -> int:
        return sum(reason.count for reason in self.reasons.values())

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count `count` files, of which `name` is the first."""
        self.reasons.setdefault(reason, Reason()).add(name, count)

    def as_json(self) -> list[dict[str, Any]]:
        """The most frequent reason first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1].count)
        return [
            {"reason": reason, "count": found.count, "names": list(found.names)} for reason, found in ordered
        ]


def said(kept: Mapping[str, Any]) -> str:
    """One reason of as_json() as a line."""
    names = ", ".join(kept["names"])
    more = ", …" if kept["count"] > len(kept["names"]) else ""
    return f"{kept['count']:,} {kept['reason']}: {names}{more}"


def told(skipped: Skipped) -> str:
    """What a source that holds no picture does hold, to be put behind that."""
    return "".join(f"; skipped {said(kept)}" for kept in skipped.as_json())
