"""The window of a batch that was asked for with it, for a batch of no schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

WINDOW, ZONE = "window", "window_zone"


@dataclass(frozen=True, slots=True)
class BatchWindow:
    """Hours of each day in which calls go out, as "22:00-06:00", and their time zone; and the first opening.

    It is stored with the batch's options: `cutout/schedules/batch_windows.py` computes the next opening.
    """

    hours: str
    zone: str
    opens_at: datetime | None = None
    closes_at: datetime | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Self | None:
        """The window in a batch's options, if there is one."""
        found = options or {}
        return cls(found[WINDOW], found[ZONE]) if WINDOW in found and ZONE in found else None

    @property
    def as_options(self) -> dict[str, str]:
        return {WINDOW: self.hours, ZONE: self.zone}
