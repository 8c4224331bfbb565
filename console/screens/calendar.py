"""Calendar of runs: days of a week or month in a zone, with runs that were and that will be."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cutout.enums import RunState
from cutout.models import Schedule
from cutout.schedules.cron import cron_of
from cutout.schedules.local_time import instant_of, jump_between, offset_at, reading_at, zone_of
from cutout.schedules.manage import is_paused
from cutout.schedules.windows import A_DAY, Window

# Of one schedule; more are said to be more.
MOST_COMING = 100


class Span(StrEnum):
    """Length of the calendar."""

    WEEK = "week"
    MONTH = "month"


# Of one schedule and day; more are counted by state. A month of 20 schedules has 840 of such.
MOST_SHOWN = {Span.WEEK: 3, Span.MONTH: 1}


class RunMark(NamedTuple):
    """A run that was: its time, state, and its batch if it has one."""

    schedule_id: uuid.UUID
    fire_at: datetime
    state: RunState
    batch_id: uuid.UUID | None


@dataclass(slots=True)
class Entry:
    """One schedule's part of a day: runs by themselves or, if they are many, counted by state."""

    schedule_id: uuid.UUID
    name: str
    most: int
    runs: list[RunMark] = field(default_factory=list)
    readings: list[datetime] = field(default_factory=list)
    coming: list[tuple[datetime, bool]] = field(default_factory=list)
    window: str = ""

    @property
    def is_short(self) -> bool:
        return len(self.runs) <= self.most

    @property
    def shown(self) -> list[tuple[RunMark, str]]:
        """The runs with the clock's readings at their time."""
        return [(run, _clock(at)) for run, at in zip(self.runs, self.readings, strict=True)]

    @property
    def shown_coming(self) -> list[tuple[str, str]]:
        """The next runs: whether each is skipped, and the clock's reading at its time."""
        return [
            ("skipped" if is_skipped else "coming", _clock(at)) for at, is_skipped in self.coming[: self.most]
        ]

    @property
    def counts(self) -> list[tuple[RunState, int]]:
        return sorted(Counter(run.state for run in self.runs).items())

    @property
    def more_coming(self) -> int:
        return max(len(self.coming) - self.most, 0)


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the zone; `change` says when its clocks change and by how much."""

    day: date
    is_today: bool
    is_outside: bool
    change: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class CalendarDays:
    """The days of the calendar, which begin on a Monday, the instants that bound them, and its neighbours."""

    first: date
    days: int
    begin: datetime
    end: datetime
    title: str
    earlier: date
    later: date
    month: int | None


def bounds_of(span: Span, day: date, zone: ZoneInfo) -> CalendarDays:
    """The week or month of the day, with whole weeks."""
    if span is Span.WEEK:
        first = day - timedelta(days=day.weekday())
        days, title = 7, f"Week of {first:%d %B %Y}"
        earlier, later, month = first - timedelta(days=7), first + timedelta(days=7), None
    else:
        start = day.replace(day=1)
        later = (start + timedelta(days=31)).replace(day=1)
        earlier = (start - A_DAY).replace(day=1)
        first = start - timedelta(days=start.weekday())
        days = -(-((later - first).days) // 7) * 7
        title, month = f"{start:%B %Y}", start.month
    return CalendarDays(
        first,
        days,
        midnight(first, zone),
        midnight(first + timedelta(days=days), zone),
        title,
        earlier,
        later,
        month,
    )


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day in the zone."""
    return instant_of(datetime.combine(day, datetime.min.time()), zone)


def days_of(
    bounds: CalendarDays,
    zone: ZoneInfo,
    schedules: Sequence[Schedule],
    runs: Sequence[RunMark],
    now: datetime,
) -> list[Day]:
    """The days with what was and will be on them."""
    entries: dict[uuid.UUID, dict[date, Entry]] = {schedule.id: {} for schedule in schedules}
    names = {schedule.id: schedule.name for schedule in schedules}
    most = MOST_SHOWN[Span.WEEK if bounds.month is None else Span.MONTH]

    def entry(reading: datetime, schedule_id: uuid.UUID) -> Entry:
        own, day = entries[schedule_id], reading.date()
        if day not in own:
            own[day] = Entry(schedule_id, names[schedule_id], most)
        return own[day]

    for run in runs:
        reading = reading_at(run.fire_at, zone)
        found = entry(reading, run.schedule_id)
        found.runs.append(run)
        found.readings.append(reading)
    for schedule in schedules:
        for at in coming_until(schedule, now, bounds):
            reading = reading_at(at, zone)
            entry(reading, schedule.id).coming.append((reading, at == schedule.skips_at))
        for opens_at, words in windows_between(schedule, max(now - A_DAY, bounds.begin), bounds.end, zone):
            entry(reading_at(opens_at, zone), schedule.id).window = words
    today = reading_at(now, zone).date()
    days = []
    for number in range(bounds.days):
        day = bounds.first + timedelta(days=number)
        own = [of_schedule[day] for of_schedule in entries.values() if day in of_schedule]
        is_outside = bounds.month is not None and day.month != bounds.month
        days.append(Day(day, day == today, is_outside, clock_change(day, zone), own))
    return days


def _clock(reading: datetime) -> str:
    return reading.isoformat()[11:16]


def coming_until(schedule: Schedule, now: datetime, bounds: CalendarDays) -> Sequence[datetime]:
    """The next runs within the calendar, MOST_COMING at most."""
    if is_paused(schedule) or bounds.end <= now:
        return ()
    first = schedule.next_fire_at if schedule.next_fire_at > now else now.replace(second=0, microsecond=0)
    begin = max(bounds.begin, first)
    return _firings(schedule.cron, schedule.zone, begin - timedelta(seconds=1), bounds.end)


# The same until the schedule fires: a page looks each second.
@lru_cache(maxsize=1024)
def _firings(cron: str, zone: str, after: datetime, until: datetime) -> tuple[datetime, ...]:
    instants = takewhile(lambda at: at < until, cron_of(cron, zone).after(after))
    return tuple(islice(instants, MOST_COMING))


def windows_between(
    schedule: Schedule, begin: datetime, end: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, str]]:
    """Each window that opens in that time, as clock readings of the calendar's zone."""
    if schedule.window_start is None or schedule.window_end is None:
        return
    window = Window(schedule.window_start, schedule.window_end, zone_of(schedule.zone))
    opening = window.at(begin)
    while opening.opens_at < end:
        if opening.opens_at >= begin:
            opens, closes = (reading_at(at, zone) for at in (opening.opens_at, opening.closes_at))
            yield opening.opens_at, f"{opens:%H:%M} to {closes:%H:%M}"
        opening = window.at(opening.closes_at)


def clock_change(day: date, zone: ZoneInfo) -> str:
    """The change of the zone's clocks on that day; empty without one."""
    begin, end = midnight(day, zone), midnight(day + A_DAY, zone)
    before, after = offset_at(begin, zone), offset_at(end - timedelta(seconds=1), zone)
    if before == after:
        return ""
    at = jump_between(begin, end - timedelta(seconds=1), zone)
    minutes = (after - before).total_seconds() / 60
    moves = "go forward" if minutes > 0 else "go back"
    return f"clocks {moves} {abs(minutes):.0f} min at {at + before:%H:%M}"
