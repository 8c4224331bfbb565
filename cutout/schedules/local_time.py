"""Local clock readings as instants: what holds for an hour that does not exist, or comes twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cutout.schedules.schedule_errors import InvalidScheduleError

LONGEST_ZONE = 64
A_SECOND = timedelta(seconds=1)


def zone_of(name: str) -> ZoneInfo:
    """The IANA zone. Raises InvalidScheduleError if there is none of that name."""
    try:
        if len(name) <= LONGEST_ZONE:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A directory of the database of zones, such as Europe, is an OSError.
        pass
    raise InvalidScheduleError(
        "zone", f"the time zone {name[:LONGEST_ZONE]!r} does not exist; write one like Europe/Paris or UTC"
    )


def reading_at(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks of the zone show at that instant."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def instant_of(reading: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks of the zone show that reading, in UTC.

    Of a reading that comes twice it is the first time, and of one that is jumped over the first instant
    after the jump.
    """
    earlier = reading.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if reading_at(earlier, zone) == reading:
        return earlier
    # With fold=1 the offset after the jump is used, which leads to an instant before it.
    return jump_between(reading.replace(tzinfo=zone, fold=1).astimezone(UTC), earlier, zone)


def jump_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks are as far from UTC as at `after`; `before` it they are not."""
    jumped = offset_at(after, zone)
    # Clocks jump at whole seconds.
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    while after - before > A_SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if offset_at(middle, zone) == jumped:
            after = middle
        else:
            before = middle
    return after


def offset_at(moment: datetime, zone: ZoneInfo) -> timedelta:
    """How far the clocks are ahead of UTC then."""
    return moment.astimezone(zone).utcoffset() or timedelta()
