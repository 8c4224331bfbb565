import uuid
from datetime import UTC, datetime, timedelta

import pytest

from cutout.enums import CatchUp
from cutout.schedules.cron import cron_of
from cutout.schedules.missed_runs import (
    MOST_AT_ONCE,
    SKIPPED,
    DueRuns,
    Recurrence,
    due_at,
    find_due_runs,
)

ID = uuid.UUID(int=7)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def looked(catch_up: CatchUp, late: timedelta, *, cron: str = "0 12 * * *", jitter: int = 0) -> DueRuns:
    """Due runs of a schedule due at noon of 1 June, read that much later; its grace is five minutes."""
    recurrence = Recurrence(ID, cron_of(cron, "UTC"), jitter, 300, catch_up)
    return find_due_runs(recurrence, NOON, NOON + late)


def days(found: DueRuns, *, skipped: bool) -> list[int]:
    return [run.fire_at.day for run in found.fires if bool(run.skipped) == skipped]


def skipping(catch_up: CatchUp, late: timedelta, skips_at: datetime) -> DueRuns:
    """Due runs of that schedule, one of which somebody asked to be skipped."""
    return find_due_runs(
        Recurrence(ID, cron_of("0 12 * * *", "UTC"), 0, 300, catch_up, skips_at), NOON, NOON + late
    )


class TestASkip:
    @pytest.mark.parametrize("policy", CatchUp)
    @pytest.mark.parametrize("late", [timedelta(), MINUTE, timedelta(hours=3)])
    def test_is_of_its_run_alone(self, policy: CatchUp, late: timedelta) -> None:
        """On time or missed it is told as skipped by hand, under any policy, and the next one stays."""
        found = skipping(policy, late, NOON)
        assert [(run.fire_at, run.skipped) for run in found.fires] == [(NOON, SKIPPED)]
        assert (found.seen, found.next and found.next.fire_at) == (1, NOON + DAY)

    def test_among_missed_ones_is_told_by_itself(self) -> None:
        """After three days away the latest other run is made up for."""
        found = skipping(CatchUp.LATEST, 2 * DAY + 3 * timedelta(hours=1), NOON + 2 * DAY)
        assert days(found, skipped=False) == [2]
        assert [run.skipped == SKIPPED for run in found.fires] == [True, False, False]

    def test_of_another_time_changes_nothing(self) -> None:
        for other in (NOON - DAY, NOON + DAY, NOON + timedelta(seconds=1)):
            assert days(skipping(CatchUp.ALL, MINUTE, other), skipped=False) == [1]


class TestALook:
    @pytest.mark.parametrize("policy", CatchUp)
    @pytest.mark.parametrize("late", [timedelta(), MINUTE, 5 * MINUTE])
    def test_within_the_grace_fires_what_is_due(self, policy: CatchUp, late: timedelta) -> None:
        """A leader replaced after a minute has missed nothing."""
        found = looked(policy, late)
        assert (days(found, skipped=False), days(found, skipped=True)) == ([1], [])
        assert found.next
        assert found.next.fire_at == NOON + DAY

    @pytest.mark.parametrize("policy", CatchUp)
    def test_fires_all_that_came_within_the_grace(self, policy: CatchUp) -> None:
        """Twelve seconds of a schedule of every second are twelve runs under any policy."""
        found = looked(policy, timedelta(seconds=11), cron="* * * * * *")
        assert [run.fire_at for run in found.fires] == [NOON + timedelta(seconds=n) for n in range(12)]
        assert not any(run.skipped for run in found.fires)

    @pytest.mark.parametrize(
        ("policy", "fired", "skipped"),
        [
            # One row stands for the ones that were skipped.
            (CatchUp.SKIP, [], [1]),
            (CatchUp.LATEST, [4], [1]),
            (CatchUp.ALL, [1, 2, 3, 4], []),
        ],
    )
    def test_after_an_outage_does_as_the_policy_says(
        self, policy: CatchUp, fired: list[int], skipped: list[int]
    ) -> None:
        """The outage lasts three days and an hour."""
        found = looked(policy, 3 * DAY + 60 * MINUTE)
        assert (days(found, skipped=False), days(found, skipped=True)) == (fired, skipped)
        assert found.next
        assert found.next.fire_at == NOON + 4 * DAY

    def test_says_how_many_were_missed(self) -> None:
        """The note is for a person who reads it in the morning."""
        found = looked(CatchUp.SKIP, 3 * DAY + 60 * MINUTE)
        assert found.fires[0].skipped == (
            "4 runs up to 2026-06-04 12:00:00 UTC could not fire within 300 s; catch-up is skip"
        )

    def test_at_the_end_of_an_outage_takes_the_run_of_now_as_the_latest(self) -> None:
        """With one run within its grace none of the missed ones fires too."""
        found = looked(CatchUp.LATEST, 3 * DAY + MINUTE)
        assert (days(found, skipped=False), days(found, skipped=True)) == ([4], [1])

    def test_of_a_long_outage_continues_where_the_last_one_ended(self) -> None:
        """A day of seconds is too much for one step; the latest fires once all are handled."""
        outage = timedelta(seconds=2 * MOST_AT_ONCE + 350)
        recurrence = Recurrence(ID, cron_of("* * * * * *", "UTC"), 0, 5, CatchUp.LATEST)
        first, fired, looks = NOON, 0, 0
        while first <= NOON + outage:
            found = find_due_runs(recurrence, first, NOON + outage)
            fired += sum(not run.skipped for run in found.fires)
            assert found.next
            first, looks = found.next.fire_at, looks + 1
        assert (fired, looks) == (6, 3)

    def test_before_its_time_finds_nothing(self) -> None:
        """A clock that was set back makes no run."""
        found = looked(CatchUp.ALL, -MINUTE)
        assert not found.fires
        assert found.next
        assert found.next.fire_at == NOON


class TestJitter:
    def test_is_the_same_by_everyone_and_spreads(self) -> None:
        """Every process computes the same due time for a run, within the bound; runs differ."""
        dues = {due_at(ID, NOON + n * DAY, 600) - (NOON + n * DAY) for n in range(50)}
        assert due_at(ID, NOON, 600) == due_at(
            ID, NOON.astimezone(cron_of("* * * * *", "Asia/Tokyo").zone), 600
        )
        assert all(timedelta() <= spread <= timedelta(seconds=600) for spread in dues)
        assert len(dues) > 45
        assert due_at(ID, NOON, 600) != due_at(uuid.UUID(int=8), NOON, 600)

    def test_of_none_changes_nothing(self) -> None:
        """Without jitter a run is due when it fires."""
        assert due_at(ID, NOON, 0) == NOON

    def test_delays_a_run_until_it_is_due(self) -> None:
        """The run keeps its scheduled time as its name."""
        due = due_at(ID, NOON, 600)
        assert not looked(CatchUp.ALL, due - NOON - timedelta(milliseconds=1), jitter=600).fires
        (run,) = looked(CatchUp.ALL, due - NOON, jitter=600).fires
        assert (run.fire_at, run.due_at) == (NOON, due)
