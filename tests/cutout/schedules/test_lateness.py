from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.billing import accounts, learned_limits
from cutout.models import Schedule
from cutout.monitoring.domain_checks import check_schedules
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.schedules.fire import fire
from cutout.schedules.lateness import LateSchedule, late_schedules
from cutout.schedules.manage import pause, remove
from cutout.schedules.windows import parse_window
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings
from tests.cutout.schedules.steps import new_schedule, pass_by, see_through
from tests.cutout.status.test_explain import LEARNED
from tests.support.steps import ACCOUNT, SOURCE

KNOWN = CallSettings([ACCOUNT])


def late(session: Session) -> list[LateSchedule]:
    return late_schedules(session, KNOWN)


class TestARunThatDidNotFire:
    def test_is_late_once_its_grace_is_over(self, session: Session) -> None:
        """A late schedule is named with its time and a remedy."""
        schedule = new_schedule(session, grace_seconds=60)
        pass_by(session, schedule, timedelta(seconds=50))
        assert late(session) == []
        at = pass_by(session, schedule, timedelta(seconds=70))
        (found,) = late(session)
        assert (found.schedule_id, found.lateness) == (schedule.id, "not_fired")
        assert found.text == f"nightly: the run of {at:%Y-%m-%d %H:%M:%S} UTC has not fired"
        assert "cutout dispatcher" in found.remedy
        fire(session)
        assert late(session) == []

    @pytest.mark.parametrize("change", [pause, remove])
    def test_is_not_missed_of_a_schedule_that_was_stopped(self, session: Session, change: object) -> None:
        """A paused or removed schedule is never late."""
        schedule = new_schedule(session)
        pass_by(session, schedule, timedelta(days=1))
        assert len(late(session)) == 1
        assert callable(change)
        change(session, schedule.id)
        assert late(session) == []


class TestAWindowThatWillNotSuffice:
    @pytest.fixture
    def night(self, session: Session) -> Schedule:
        """A night of 100 calls, two a second: 50 seconds."""
        accounts.ensure(session, ACCOUNT)
        learned_limits.save(session, ACCOUNT, LEARNED)
        schedule = new_schedule(session, window=parse_window("01:00-06:00"))
        pass_by(session, schedule)
        fire(session)
        see_through(session)
        batch_id = session.execute(text("SELECT batch_id FROM runs")).scalar_one()
        enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(100)], batch_id=batch_id)
        return schedule

    def close_in(self, session: Session, seconds: int, *, opens_in: int = -100) -> None:
        values = {"closes": timedelta(seconds=seconds), "opens": timedelta(seconds=opens_in)}
        session.execute(
            text("UPDATE batches SET opens_at = now() + :opens, closes_at = now() + :closes"), values
        )
        session.execute(text("UPDATE runs SET closes_at = now() + :closes"), values)

    def test_is_found_by_the_measured_rate(self, session: Session, night: Schedule) -> None:
        """The calls fit into sixty seconds, and do not fit into forty."""
        self.close_in(session, 60)
        assert late(session) == []
        self.close_in(session, 40)
        (found,) = late(session)
        assert (found.schedule_id, found.lateness) == (night.id, "window_too_short")
        assert found.text.startswith(
            "nightly: 100 calls are left and take 1 min at 2.0/s; its window has 1 min left, until 20"
        )

    @pytest.mark.usefixtures("night")
    def test_counts_from_its_opening(self, session: Session) -> None:
        """An hour before its opening a window is already known to be too short."""
        self.close_in(session, 3640, opens_in=3600)
        assert len(late(session)) == 1

    @pytest.mark.usefixtures("night")
    def test_may_be_run_past(self, session: Session) -> None:
        """A window that calls may run past cannot be too short."""
        self.close_in(session, 40)
        session.execute(text("UPDATE schedules SET at_window_end = 'run_on'"))
        assert late(session) == []

    @pytest.mark.usefixtures("night")
    def test_is_not_guessed_before_a_rate_was_measured(self, session: Session) -> None:
        """Without a measured rate no window is too short."""
        self.close_in(session, 1)
        session.execute(text("DELETE FROM limits"))
        assert late(session) == []

    @pytest.mark.usefixtures("night")
    def test_is_forgotten_once_the_calls_are_made(self, session: Session) -> None:
        """Copies need no window."""
        self.close_in(session, 1)
        session.execute(text("UPDATE jobs SET step = 'copy'"))
        assert late(session) == []


class TestTheCheck:
    def test_says_nothing_without_schedules_and_ok_with_them(
        self, engine: Engine, settings: Settings
    ) -> None:
        """Without schedules there is no check, with them one, and one for each late schedule."""
        assert check_schedules(settings, engine) == []
        with Session(engine) as session, session.begin():
            schedule_id = new_schedule(session).id
        assert [check.ok for check in check_schedules(settings, engine)] == [True]
        with Session(engine) as session, session.begin():
            pass_by(session, session.get_one(Schedule, schedule_id), timedelta(days=1))
        (check,) = check_schedules(settings, engine)
        assert (check.name, check.ok) == ("schedules", False)
        assert check.found.startswith("nightly: ")
