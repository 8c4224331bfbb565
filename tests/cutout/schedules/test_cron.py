from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest

from cutout.schedules.cron import cron_of
from cutout.schedules.schedule_errors import InvalidScheduleError

PARIS, NEW_YORK, LORD_HOWE = "Europe/Paris", "America/New_York", "Australia/Lord_Howe"
ZONES = [PARIS, NEW_YORK, LORD_HOWE]
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
A_QUARTER = timedelta(minutes=15)

each_zone = pytest.mark.parametrize("zone", ZONES)

# By hand, from the zones' own rules: (jump in UTC, its first reading after, whether it goes forward).
JUMPS = {
    PARIS: [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), True),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), False),
        (datetime(2027, 3, 28, 1, tzinfo=UTC), True),
        (datetime(2027, 10, 31, 1, tzinfo=UTC), False),
    ],
    NEW_YORK: [
        (datetime(2026, 3, 8, 7, tzinfo=UTC), True),
        (datetime(2026, 11, 1, 6, tzinfo=UTC), False),
        (datetime(2027, 3, 14, 7, tzinfo=UTC), True),
        (datetime(2027, 11, 7, 6, tzinfo=UTC), False),
    ],
    LORD_HOWE: [
        (datetime(2026, 4, 4, 15, tzinfo=UTC), False),
        (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), True),
        (datetime(2027, 4, 3, 15, tzinfo=UTC), False),
        (datetime(2027, 10, 2, 15, 30, tzinfo=UTC), True),
    ],
}
# Readings that the jumps leave out, or bring twice: from, and before.
LEFT_OUT = {
    PARIS: (time(2), time(3)),
    NEW_YORK: (time(2), time(3)),
    LORD_HOWE: (time(2), time(2, 30)),
}
TWICE = {
    PARIS: (time(2), time(3)),
    NEW_YORK: (time(1), time(2)),
    LORD_HOWE: (time(1, 30), time(2)),
}


def fires(expression: str, zone: str, since: datetime = BEGIN, until: datetime = END) -> list[datetime]:
    found = []
    for instant in cron_of(expression, zone).after(since):
        if instant >= until:
            break
        found.append(instant)
    return found


def local(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone))


def days_of(zone: str) -> Iterator[date]:
    day = local(BEGIN, zone).date()
    while day < date(2028, 1, 1):
        yield day
        day += timedelta(days=1)


def day_of_jump(zone: str, *, forward: bool) -> set[date]:
    return {local(at, zone).date() for at, is_forward in JUMPS[zone] if is_forward == forward}


class TestANightlyRun:
    @each_zone
    @pytest.mark.parametrize("at", [time(0, 0), time(0, 59), time(1, 15), time(1, 45), time(2, 15), time(3)])
    def test_fires_once_on_every_day_of_two_years(self, zone: str, at: time) -> None:
        """It fires at its first reading, or at the moment the clocks have jumped over it."""
        found = fires(f"{at.minute} {at.hour} * * *", zone, BEGIN - timedelta(days=2))
        by_day = {local(instant, zone).date(): instant for instant in found}
        assert len(found) == len(by_day)
        left_out, jumps = LEFT_OUT[zone], {local(jump, zone).date(): jump for jump, _ in JUMPS[zone]}
        for day in days_of(zone):
            if day in day_of_jump(zone, forward=True) and left_out[0] <= at < left_out[1]:
                assert by_day[day] == jumps[day]
                continue
            there = local(by_day[day], zone)
            assert (there.time(), there.fold) == (at, 0)

    @each_zone
    def test_whose_hour_comes_twice_fires_at_the_first(self, zone: str) -> None:
        """On the day of the jump back the second occurrence brings no second run."""
        first = TWICE[zone][0]
        found = fires(f"{first.minute} {first.hour} * * *", zone)
        for jump, forward in JUMPS[zone]:
            if not forward:
                (instant,) = [at for at in found if local(at, zone).date() == local(jump, zone).date()]
                assert instant < jump
                assert local(instant, zone).time() == first

    def test_knows_the_instants_computed_on_paper(self) -> None:
        """The instants around spring and autumn in Paris were computed on paper."""
        since, until = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC)
        assert fires("30 2 * * *", PARIS, since, until) == [
            datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # 03:00 summer time
            datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        ]
        since, until = datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC)
        assert fires("30 2 * * *", PARIS, since, until) == [
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 02:30 summer time
            datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
        ]

    def test_of_several_readings_in_the_lost_hour_fires_once(self) -> None:
        """All skipped readings mean the same first instant after the jump, 03:00 among them."""
        since, until = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC)
        found = fires("0,20,40 2,3 * * *", PARIS, since, until)
        assert found == [datetime(2026, 3, 29, 1, minute, tzinfo=UTC) for minute in (0, 20, 40)]

    def test_of_every_other_hour_keeps_to_the_clock(self) -> None:
        """`*/2` names hours: the skipped one fires at 03:00, the repeated one once."""
        spring, autumn = datetime(2026, 3, 28, 23, 30, tzinfo=UTC), datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
        hours = timedelta(hours=6)
        for since, expected in ((spring, ["03:00", "04:00", "06:00"]), (autumn, ["02:00", "04:00"])):
            found = fires("0 */2 * * *", PARIS, since, since + hours)
            assert [f"{local(at, PARIS):%H:%M}" for at in found] == expected

    def test_asked_for_in_the_second_occurrence_waits_for_the_next_day(self) -> None:
        """At 02:10 winter time the 02:30 of summer time is over."""
        second_passing = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
        assert cron_of("30 2 * * *", PARIS).next_after(second_passing) == datetime(
            2026, 10, 26, 1, 30, tzinfo=UTC
        )

    def test_on_a_day_that_a_zone_left_out_fires_when_it_is_over(self) -> None:
        """Samoa had no 30 December 2011."""
        since = datetime(2011, 12, 29, 12, tzinfo=UTC)
        found = fires("0 12 * * *", "Pacific/Apia", since, since + timedelta(days=2))
        assert found == [
            datetime(2011, 12, 29, 22, tzinfo=UTC),
            datetime(2011, 12, 30, 10, tzinfo=UTC),
            datetime(2011, 12, 30, 22, tzinfo=UTC),
        ]


class TestARunOfEveryHour:
    @each_zone
    def test_fires_each_real_quarter_for_two_years(self, zone: str) -> None:
        """For every hour no quarter is missing and none occurs twice, whatever the clocks do."""
        found = fires("*/15 * * * *", zone, BEGIN, END)
        assert found == [BEGIN + A_QUARTER * n for n in range(1, int((END - BEGIN) / A_QUARTER))]

    @each_zone
    def test_fires_whenever_the_clock_shows_its_minute(self, zone: str) -> None:
        """It fires both times in a repeated hour, and not in a skipped one."""
        for jump, _ in JUMPS[zone]:
            since, until = jump - timedelta(hours=3), jump + timedelta(hours=3)
            minutes = [since + timedelta(minutes=n) for n in range(1, 360)]
            assert fires("40 * * * *", zone, since, until) == [
                at for at in minutes if local(at, zone).minute == 40
            ]

    @pytest.mark.parametrize(
        ("expression", "zone", "turn"),
        [
            # Clocks go back at midnight, on 4 April 2026 in Santiago and on 1 November in Havana.
            ("30 * 4 4 *", "America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),
            ("30 * * * 6", "America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),
            ("0,50 * 1 11 *", "America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
            ("10 * 6 9 *", "America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
        ],
    )
    def test_of_chosen_days_misses_none_of_their_hours(
        self, expression: str, zone: str, turn: datetime
    ) -> None:
        """After any minute around a jump at midnight, the next matching clock reading fires."""
        minute, hour_of_day, day, month, weekday = expression.split()
        shown = [
            at
            for at in (turn + timedelta(minutes=n) for n in range(-1500, 1500))
            if str(local(at, zone).minute) in minute.split(",")
            and day in ("*", str(local(at, zone).day))
            and month in ("*", str(local(at, zone).month))
            and weekday in ("*", str(local(at, zone).isoweekday()))
        ]
        assert hour_of_day == "*"
        cron = cron_of(expression, zone)
        for n in range(-1490, 1490, 7):
            moment = turn + timedelta(minutes=n, milliseconds=137)
            later = [at for at in shown if at > moment]
            if later:
                assert cron.next_after(moment) == later[0]

    def test_may_fire_each_second(self) -> None:
        """A sixth field, written first, counts seconds."""
        since = datetime(2026, 10, 25, 0, 59, 58, tzinfo=UTC)
        found = fires("* * * * * *", PARIS, since, since + timedelta(seconds=5))
        assert found == [since + timedelta(seconds=n) for n in range(1, 5)]

    def test_of_half_a_second_past_fires_at_the_next_whole_one(self) -> None:
        """Instants are whole seconds after the given moment."""
        moment = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
        assert cron_of("* * * * * *", PARIS).next_after(moment) == datetime(2026, 5, 1, 12, 0, 1, tzinfo=UTC)


class TestWhatCannotFire:
    @pytest.mark.parametrize(
        "expression",
        ["0 0 30 2 *", "0 0 31 4,6 *", "61 * * * *", "* 24 * * *", "0 0 * * FOO", "0 0 */0 * *", "a b c d e"],
    )
    def test_is_refused(self, expression: str) -> None:
        """A day or hour that no calendar has is named with the expression."""
        with pytest.raises(InvalidScheduleError, match="never fires") as refused:
            cron_of(expression, PARIS)
        assert refused.value.field == "cron"
        assert repr(expression) in str(refused.value)

    @pytest.mark.parametrize("expression", ["", "* * *", "* * * * * * *", "* " * 5000])
    def test_has_five_or_six_fields(self, expression: str) -> None:
        """Any other number is refused with an example, and without repeating a long text."""
        with pytest.raises(InvalidScheduleError, match="write one like '15 1") as refused:
            cron_of(expression, PARIS)
        assert len(str(refused.value)) < 400

    @pytest.mark.parametrize(
        "zone", ["Mars/Base", "Europe", "", "../../etc/passwd", "/etc/localtime", "Europe/Paris\0", "x" * 500]
    )
    def test_a_zone_that_does_not_exist(self, zone: str) -> None:
        """A path that is no zone is refused as well."""
        with pytest.raises(InvalidScheduleError, match="does not exist; write one like") as refused:
            cron_of("0 0 * * *", zone)
        assert refused.value.field == "zone"

    def test_a_leap_day_does_fire(self) -> None:
        """A date once in four years still fires."""
        assert cron_of("0 0 29 2 *", "UTC").next_after(BEGIN) == datetime(2028, 2, 29, tzinfo=UTC)


class TestWhatPeopleWrite:
    @pytest.mark.parametrize(
        ("written", "same"),
        [
            ("0 2 * * SAT-SUN", "0 2 * * 6,0"),
            ("0 2 * * FRI-MON", "0 2 * * 5,6,0,1"),
            ("0 2 * * Monday,thu.", "0 2 * * 1,4"),
            ("0 2 * * 5-7", "0 2 * * 5,6,0"),
            ("0 2 * * 7-2", "0 2 * * 0-2"),
            ("0 2 * * 7-7", "0 2 * * 0"),
            ("0 2 * NOV-FEB 1", "0 2 * 11,12,1,2 1"),
            ("30 22-4/2 * * *", "30 22,0,2,4 * * *"),
            ("@daily", "0 0 * * *"),
            ("@Hourly", "0 * * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("0 0 2 ? * MON-FRI", "0 2 * * 1-5"),
            ("0 0 2 * * ?", "0 2 * * *"),
            ("0 0 2 1 * ? *", "0 2 1 * *"),
            ("0 2 * * MON\u2013FRI", "0 2 * * 1-5"),
            ("0 2 * * MON - FRI", "0 2 * * 1-5"),
            ("0 2,\t14 * * MON, TUE", "0 2,14 * * 1,2"),
        ],
    )
    def test_fires_when_they_mean(self, written: str, same: str) -> None:
        """The instants of a year are those of the plain spelling."""
        ends = BEGIN + timedelta(days=366)
        first, second = (
            [*takewhile(lambda at: at < ends, islice(cron_of(one, PARIS).after(BEGIN), 10_000))]
            for one in (written, same)
        )
        assert first == second
        assert first

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("@every 1h", "is none of @hourly, @daily"),
            ("@reboot", "is none of @hourly, @daily"),
            ("0 24 * * *", r"no such hour \('24'\): write 0 to 23"),
            ("0 2 * * 8", r"no such day-of-week \('8'\): write 0 to 6 or SUN to SAT"),
            ("0 2 32 * *", r"no such day-of-month \('32'\): write 1 to 31"),
            ("0 2 * 13 *", "no such month .* write 1 to 12 or JAN to DEC"),
            (
                "0 0 2 ? * 2-6",
                "which counts Sunday as 1 and not as 0: write the day of the week '2-6' by name",
            ),
            ("0 2 ? * ?", "has a . where it is not allowed"),
            ("? 2 * * *", "has a . where it is not allowed"),
            ("0 0 2 ? * MON 2027", "has the year 2027 .* leave it out: '0 0 2 . . MON'"),
            ("TZ=UTC 0 2 * * *", "leave it out, and give UTC as the time zone of the schedule"),
            ("CRON_TZ=Europe/Rome @daily", "leave it out, and give Europe/Rome as the time zone"),
            ("0 2 31 2 *", "no month 2 has a day 31; fix the day or the month"),
            ("0 2 31 4,6 *", "no month 4,6 has a day 31; fix the day or the month"),
        ],
    )
    def test_that_is_ambiguous_is_refused_with_the_right_spelling(self, written: str, said: str) -> None:
        """An ambiguous or meaningless expression is refused with the right spelling."""
        with pytest.raises(InvalidScheduleError, match=said):
            cron_of(written, PARIS)
