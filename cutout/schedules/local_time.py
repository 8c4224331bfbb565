"""Conversion between local clock readings and instants, with rules for skipped and repeated hours."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cutout.schedules.schedule_errors import InvalidScheduleError

LONGEST_ZONE = 64
A_SECOND = timedelta(seconds=1)


def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of this name. Raises InvalidScheduleError if there is none."""
    try:
        if len(name) <= LONGEST_ZONE:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A directory of the zone database, such as Europe, raises OSError.
        pass
    raise InvalidScheduleError(
        "zone", f"the time zone {name[:LONGEST_ZONE]!r} does not exist; write one like Europe/Paris or UTC"
    )


def reading_at(moment: datetime, zone: ZoneInfo) -> datetime:
    """The clock reading of the zone at that instant, without a zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def instant_of(reading: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the clocks of the zone show that reading.

    A reading that occurs twice means the first time; a skipped one means the first instant after the jump.
    """
    earlier = reading.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if reading_at(earlier, zone) == reading:
        return earlier
    # With fold=1 the offset after the jump is used, which gives an instant before the jump.
    return jump_between(reading.replace(tzinfo=zone, fold=1).astimezone(UTC), earlier, zone)


def jump_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant with the same offset from UTC as at `after`; at `before` the offset differs."""
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
    """The offset of the zone from UTC at that instant."""
    return moment.astimezone(zone).utcoffset() or timedelta()
