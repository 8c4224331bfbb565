"""Skipped files of a source: counted by reason, with the first names of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cutout.manifests.field_rules import readable

MOST_NAMES = 5
LONGEST_NAME = 200


@dataclass(slots=True)
class Reason:
    """Number of files skipped for one reason, and the first names."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        """Count `count` files, of which `name` is the first."""
        self.count += count
        if len(self.names) < MOST_NAMES:
            self.names.append(readable(name)[:LONGEST_NAME])


class Skipped:
    """Skipped files by reason. Reasons are few and fixed, so memory use does not grow with the files."""

    def __init__(self) -> None:
        self.reasons: dict[str, Reason] = {}

    @property
    def total(self) -> int:
        return sum(reason.count for reason in self.reasons.values())

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count `count` files, of which `name` is the first."""
        self.reasons.setdefault(reason, Reason()).add(name, count)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the reasons with counts and names, the most frequent first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1].count)
        return [
            {"reason": reason, "count": found.count, "names": list(found.names)} for reason, found in ordered
        ]


def reason_text(skipped_reason: Mapping[str, Any]) -> str:
    """Describe one reason of as_json() in a line."""
    names = ", ".join(skipped_reason["names"])
    more = ", …" if skipped_reason["count"] > len(skipped_reason["names"]) else ""
    return f"{skipped_reason['count']:,} {skipped_reason['reason']}: {names}{more}"


def skipped_text(skipped: Skipped) -> str:
    """Describe the skipped files of a source without pictures, as the end of an error text."""
    return "".join(f"; skipped {reason_text(reason)}" for reason in skipped.as_json())
