from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.schedules.windows import Opening, Window, parse_window

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)


def window(text: str) -> Window:
    return Window(*parse_window(text), PARIS)


def utc(day: int, hour: int, minute: int = 0, month: int = 6) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


class TestAWindow:
    def test_is_found_from_within_before_and_after(self) -> None:
        """The end is the first instant outside the window: there the next night's opening is found."""
        tonight = Opening(utc(10, 23), utc(11, 4))  # 01:00 to 06:00 in summer
        nightly = window("01:00-06:00")
        for moment in (utc(10, 12), utc(10, 23), utc(11, 3, 59)):
            assert nightly.at(moment) == tonight
        assert nightly.at(utc(11, 4)) == Opening(utc(11, 23), utc(12, 4))

    def test_may_pass_midnight(self) -> None:
        """A window from 22:00 to 05:00 of the next day is found from after midnight as well."""
        tonight = Opening(utc(10, 20), utc(11, 3))
        for moment in (utc(10, 12), utc(10, 21), utc(10, 23), utc(11, 2)):
            assert window("22:00-05:00").at(moment) == tonight

    def test_never_has_no_length_and_never_overlaps_over_two_years(self) -> None:
        """Openings follow one another through all clock changes."""
        for text in ("01:00-06:00", "22:00-05:00", "02:10-02:40", "02:30-02:00"):
            moment, seen = datetime(2026, 1, 1, tzinfo=UTC), 0
            while moment.year < 2028:
                opening = window(text).at(moment)
                assert opening.opens_at < opening.closes_at
                assert moment < opening.closes_at
                assert window(text).at(opening.closes_at).opens_at >= opening.closes_at
                moment, seen = opening.closes_at, seen + 1
            assert 728 <= seen <= 731

    def test_in_the_lost_hour_does_not_happen(self) -> None:
        """02:10 to 02:40 is skipped on 29 March."""
        assert window("02:10-02:40").at(utc(28, 12, month=3)).opens_at == utc(30, 0, 10, month=3)

    def test_follows_real_time_through_a_jump(self) -> None:
        """01:00 to 06:00 has four hours in spring and six in autumn."""
        nightly = window("01:00-06:00")
        for moment, hours in ((utc(28, 12, month=3), 4), (utc(24, 12, month=10), 6)):
            opening = nightly.at(moment)
            assert opening.closes_at - opening.opens_at == hours * HOUR

    def test_that_ends_in_the_doubled_hour_ends_at_the_first(self) -> None:
        """The earlier end counts: no call begins outside the window."""
        assert window("01:00-02:30").at(utc(24, 12, month=10)).closes_at == utc(25, 0, 30, month=10)

    @pytest.mark.parametrize("text", ["01:00-01:00", "00:00-0:00"])
    def test_of_no_length_is_refused(self, text: str) -> None:
        """An empty window would never open."""
        with pytest.raises(InvalidScheduleError, match="is empty"):
            parse_window(text)

    @pytest.mark.parametrize("text", ["", "01:00", "1-6", "25:00-26:00", "01:00-06:00-07:00", "x" * 9999])
    def test_is_two_times_of_a_day(self, text: str) -> None:
        """Any other text is refused with an example."""
        with pytest.raises(InvalidScheduleError, match="write one like 01:00-06:00") as refused:
            parse_window(text)
        assert len(str(refused.value)) < 300

    def test_says_itself_as_it_was_written(self) -> None:
        """The text is for people."""
        assert str(window("1:00-06:30")) == "01:00-06:30"
