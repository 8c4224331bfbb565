from sqlalchemy.orm import Session

from cutout.models import Schedule
from cutout.queue.blocks.pauses import By
from cutout.schedules.definition import NewSchedule
from cutout.schedules.manage import change, coming_runs, pause
from cutout.schedules.missed_runs import SKIPPED
from cutout.schedules.skips import is_next_skipped, may_restore, restore, skip
from tests.cutout.schedules.steps import A_DAY, SOURCE, new_schedule


def order(session: Session, schedule: Schedule, cron: str) -> None:
    """The schedule with other times."""
    session.refresh(schedule)
    change(session, schedule, NewSchedule("nightly", SOURCE, cron=cron, zone="Europe/Paris"))


class TestASkip:
    def test_is_of_the_next_run_alone(self, session: Session) -> None:
        """Not of another time, not twice, not while paused; it is taken back until its time comes."""
        schedule = new_schedule(session)
        at = schedule.next_fire_at
        assert not skip(session, schedule.id, at + A_DAY)
        assert [skip(session, schedule.id, at) for _ in range(2)] == [True, False]
        session.refresh(schedule)
        first, second = coming_runs(session, schedule, 2)
        assert (first.skipped, second.skipped) == (SKIPPED, None)
        assert [restore(session, schedule.id, at, By.PRODUCER) for _ in range(2)] == [True, False]
        assert pause(session, schedule.id)
        assert not skip(session, schedule.id, at)

    def test_ends_with_another_time(self, session: Session) -> None:
        """A schedule that is ordered for another time begins anew."""
        schedule = new_schedule(session)
        assert skip(session, schedule.id, schedule.next_fire_at)
        order(session, schedule, "0 2 * * *")
        assert schedule.skips_at is None


class TestAnOperatorsSkip:
    def test_is_lifted_by_an_operator_alone(self, session: Session) -> None:
        """A producer's own is lifted by either."""
        schedule = new_schedule(session)
        at = schedule.next_fire_at
        assert skip(session, schedule.id, at, By.OPERATOR)
        session.refresh(schedule)
        assert [may_restore(schedule, by) for by in By] == [False, True]
        assert [restore(session, schedule.id, at, by) for by in By] == [False, True]
        assert skip(session, schedule.id, at, By.PRODUCER)
        session.refresh(schedule)
        assert [may_restore(schedule, by) for by in By] == [True, True]

    def test_outlasts_other_times(self, session: Session) -> None:
        """Of a schedule that has its times back, and a skip of an earlier run in between takes no place."""
        schedule = new_schedule(session)
        cron, at = schedule.cron, schedule.next_fire_at
        assert skip(session, schedule.id, at, By.OPERATOR)
        order(session, schedule, "* * * * *")
        assert not is_next_skipped(schedule)
        assert not skip(session, schedule.id, schedule.next_fire_at, By.PRODUCER)
        order(session, schedule, cron)
        assert schedule.next_fire_at == at
        assert is_next_skipped(schedule)
