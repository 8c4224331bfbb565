"""Windows: the hours of a day in which a schedule may call."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from cutout.schedules.local_time import instant_of, reading_at
from cutout.schedules.schedule_errors import InvalidScheduleError

A_DAY = timedelta(days=1)
FORM = "%H:%M"
EXAMPLE = "write one like 01:00-06:00 or 22:00-05:00"


@dataclass(frozen=True, slots=True)
class Opening:
    """One occurrence of a window, in UTC. `closes_at` is the first instant outside it."""

    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A window from one clock reading to another, past midnight if the end is smaller."""

    start: time
    end: time
    zone: ZoneInfo

    def at(self, moment: datetime) -> Opening:
        """The opening that contains `moment`, or the next one, without any that a clock change skips."""
        day = reading_at(moment, self.zone).date() - A_DAY
        while True:
            ends_on = day if self.start < self.end else day + A_DAY
            opens_at = instant_of(datetime.combine(day, self.start), self.zone)
            closes_at = instant_of(datetime.combine(ends_on, self.end), self.zone)
            if moment < closes_at and opens_at < closes_at:
                return Opening(opens_at, closes_at)
            day += A_DAY

    def __str__(self) -> str:
        return f"{self.start:{FORM}}-{self.end:{FORM}}"


def parse_window(text: str) -> tuple[time, time]:
    """Parse `01:00-06:00` into two clock readings. Raises InvalidScheduleError, also for an empty window."""
    try:
        start, end = (datetime.strptime(part.strip(), FORM).time() for part in text.split("-"))  # noqa: DTZ007
    except ValueError:
        raise InvalidScheduleError(
            "window", f"the window {text[:100]!r} is not two times of a day; {EXAMPLE}"
        ) from None
    if start == end:
        raise InvalidScheduleError(
            "window", f"the window {text!r} is empty; {EXAMPLE}, or omit it to call at any hour"
        )
    return start, end
