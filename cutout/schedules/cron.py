"""Cron expressions, evaluated to instants in a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cutout.schedules.cron_syntax import field_fault, fields_of
from cutout.schedules.local_time import A_SECOND, instant_of, jump_between, offset_at, reading_at, zone_of
from cutout.schedules.schedule_errors import InvalidScheduleError

LONGEST_EXPRESSION = 200
EVERY_HOUR = set(range(24))
# No zone's clocks jumped twice in a day.
A_DAY = timedelta(days=1)
ANY_READING = datetime(2000, 1, 1)  # noqa: DTZ001 - a clock reading


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields, or six with seconds first, in a zone. An expression for every hour follows real time.

    `15 1 * * *` means certain clock readings: each fires once, the first time it occurs, or at the first
    instant after a jump that skips it. `*/15 * * * *` fires whenever the clock shows a quarter: both times in
    an hour that occurs twice, and not in an hour that is skipped.
    """

    expression: str
    zone: ZoneInfo
    follows_real_time: bool

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the instants after `moment` in order, in UTC, each once, up to 50 years ahead."""
        latest = moment
        for instant in self._in_real_time(moment) if self.follows_real_time else self._readings(moment):
            if instant > latest:
                latest = instant
                yield instant

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant after `moment`; None if there is none in 50 years."""
        return next(self.after(moment), None)

    def _readings(self, moment: datetime) -> Iterator[datetime]:
        for reading in CronSim(self.expression, reading_at(moment, self.zone)):
            yield instant_of(reading, self.zone)

    def _in_real_time(self, moment: datetime) -> Iterator[datetime]:
        """Go through the periods between clock changes: within each the offset from UTC is constant."""
        since, offset = moment.astimezone(UTC), offset_at(moment, self.zone)
        while True:
            for reading in CronSim(self.expression, (since + offset).replace(tzinfo=None)):
                instant = reading.replace(tzinfo=UTC) - offset
                seen_until = min(instant, since + A_DAY)
                if offset_at(seen_until, self.zone) != offset:
                    since = jump_between(since, seen_until, self.zone) - A_SECOND
                    offset = offset_at(seen_until, self.zone)
                elif instant > seen_until:
                    since = max(seen_until, instant - A_DAY)
                    offset = offset_at(since, self.zone)
                else:
                    yield instant
                    since = instant
                    continue
                break
            else:
                return


@lru_cache(maxsize=4096)
def cron_of(expression: str, zone_name: str) -> Cron:
    """Parse an expression. Raises InvalidScheduleError if it or the zone is invalid, or if it never fires."""
    zone = zone_of(zone_name)
    if len(expression) > LONGEST_EXPRESSION:
        raise InvalidScheduleError(
            "cron",
            f"the cron expression {expression[:LONGEST_EXPRESSION]!r} does not have five fields, or six with"
            " seconds first; write one like '15 1 * * *'",
        )
    # cronsim handles clock changes differently in expressions of five fields.
    fields = fields_of(expression)
    with_seconds = " ".join(fields)
    try:
        simulated = CronSim(with_seconds, ANY_READING)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise InvalidScheduleError("cron", field_fault(expression, fields, field)) from error
    if next(simulated, None) is None:
        raise InvalidScheduleError("cron", f"the cron expression {expression!r} never fires; fix its days")
    return Cron(with_seconds, zone, simulated.hours == EVERY_HOUR)
