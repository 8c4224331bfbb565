import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import CatchUp
from cutout.models import Run, Schedule
from cutout.models.database import connect
from cutout.schedules.fire import DUE, FIRE, _plan_all, fire
from cutout.schedules.local_time import instant_of, reading_at, zone_of
from cutout.schedules.manage import pause, remove, resume, run_now
from cutout.schedules.missed_runs import SKIPPED
from cutout.schedules.skips import skip
from tests.cutout.schedules.steps import A_DAY, due_since, new_schedule, pass_by, runs, states
from tests.support.machine import scaled

EACH_SECOND = "* * * * * *"


def nights_before(schedule: Schedule, nights: int) -> datetime:
    """Its time so many nights before the next run, by the clock of its zone, which may have changed since."""
    zone = zone_of(schedule.zone)
    return instant_of(reading_at(schedule.next_fire_at, zone) - nights * A_DAY, zone)


class TestFiring:
    def test_makes_one_run_and_moves_the_schedule_on(self, session: Session) -> None:
        """A run waits under its scheduled time, and the next night's run is next."""
        schedule = new_schedule(session)
        at = pass_by(session, schedule)
        assert fire(session) == 1
        (run,) = runs(session, schedule)
        assert (run.state, run.fire_at, run.due_at) == ("waiting", at, at)
        assert schedule.next_fire_at > at
        assert schedule.next_fire_at.astimezone().utcoffset() is not None
        assert fire(session) == 0

    def test_is_not_done_before_its_time(self, session: Session) -> None:
        """Nothing is due when a schedule is added."""
        new_schedule(session)
        assert fire(session) == 0

    def test_of_many_schedules_is_done_at_once(self, session: Session) -> None:
        """200 schedules of every second that waited five seconds each fire six times, now included."""
        schedules = [new_schedule(session, str(n), cron=EACH_SECOND) for n in range(200)]
        now = session.scalars(text("SELECT date_trunc('second', now())")).one()
        for schedule in schedules:
            due_since(session, schedule, now - timedelta(seconds=5))
        assert fire(session) == 200 * 6
        assert fire(session) == 0
        assert {len(runs(session, schedule)) for schedule in schedules[:3]} == {6}

    def test_by_two_who_believe_that_they_lead_makes_each_run_once(self, engine: Engine) -> None:
        """Two leaders race for the same schedules, each statement commits by itself."""
        with Session(engine) as session, session.begin():
            ids = [new_schedule(session, str(n), cron=EACH_SECOND).id for n in range(20)]
            session.execute(
                text(
                    "UPDATE schedules SET next_fire_at = date_trunc('second', now()) - interval '30 s',"
                    " next_due_at = date_trunc('second', now()) - interval '30 s'"
                )
            )
        url = engine.url.render_as_string(hide_password=False)
        ready = threading.Barrier(2)

        def lead() -> int:
            own = connect(url, connections=1, autocommit=True)
            fired = 0
            with own.connect() as connection:
                ready.wait(scaled(10))
                for _ in range(20):
                    fired += fire(connection)
            own.dispose()
            return fired

        with ThreadPoolExecutor(2) as pool:
            fired = sum(one.result(60) for one in [pool.submit(lead) for _ in range(2)])
        with Session(engine) as session:
            rows = session.query(Run.schedule_id, Run.fire_at).all()
            assert len(rows) == fired
            for schedule_id in ids:
                times = sorted(at for of, at in rows if of == schedule_id)
                assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]
                assert session.get_one(Schedule, schedule_id).next_fire_at == times[-1] + timedelta(seconds=1)

    def test_leaves_nothing_half_done_when_it_crashes(self, engine: Engine) -> None:
        """Run and advance are one statement: after a rollback both are done again."""
        with Session(engine) as session, session.begin():
            schedule_id = new_schedule(session).id
            pass_by(session, session.get_one(Schedule, schedule_id))
        with Session(engine) as session:
            assert fire(session) == 1
            session.rollback()
        with Session(engine) as session:
            assert session.query(Run).count() == 0
            assert fire(session) == 1


class TestAClockStep:
    def test_back_makes_no_second_run(self, session: Session) -> None:
        """An hour that the clock shows again was fired already."""
        schedule = new_schedule(session, cron="* * * * *")
        due_since(session, schedule, session.scalars(text("SELECT date_trunc('minute', now())")).one())
        assert fire(session) == 1
        # Everything else an hour later is the clock an hour earlier.
        for row in ("runs SET fire_at = fire_at", "schedules SET next_due_at = next_due_at"):
            session.execute(text(f"UPDATE {row} + interval '1 hour'"))
        session.execute(text("UPDATE schedules SET next_fire_at = next_due_at"))
        assert fire(session) == 0
        assert states(session, schedule) == ["waiting"]

    def test_back_whose_move_was_lost_meets_the_unique_key(self, session: Session) -> None:
        """A restored schedule that is behind its runs advances without a second run."""
        schedule = new_schedule(session)
        at = pass_by(session, schedule)
        assert fire(session) == 1
        due_since(session, schedule, at)
        assert fire(session) == 0
        session.expire_all()
        assert schedule.next_fire_at > at
        assert states(session, schedule) == ["waiting"]


class TestAnOutage:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (CatchUp.SKIP, ["skipped"]),
            (CatchUp.LATEST, ["skipped", "waiting"]),
            (CatchUp.ALL, ["waiting", "waiting", "waiting"]),
        ],
    )
    def test_of_three_nights_is_caught_up_as_ordered(
        self, session: Session, policy: CatchUp, expected: list[str]
    ) -> None:
        """After three nights without a dispatcher the policy applies; the next night is normal."""
        schedule = new_schedule(session, catch_up=policy, overlap="queue")
        due_since(session, schedule, nights_before(schedule, 3))
        # However late at night this test runs, the grace of the third one is over.
        schedule.grace_seconds = 0
        session.flush()
        fire(session)
        assert states(session, schedule) == expected
        assert all(run.note for run in runs(session, schedule) if run.state == "skipped")
        session.expire_all()
        assert schedule.next_fire_at > datetime.now(UTC)

    def test_of_a_day_of_seconds_ends_though_each_step_is_bounded(self, session: Session) -> None:
        """Each step handles a bounded number of runs, and none is lost between two steps."""
        schedule = new_schedule(session, cron=EACH_SECOND, catch_up=CatchUp.SKIP, grace_seconds=30)
        due_since(session, schedule, datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2500))
        looks = 0
        while fire(session):
            looks += 1
        assert looks == 3
        found = runs(session, schedule)
        skipped = [run for run in found if run.state == "skipped"]
        assert [int((run.note or "").split()[0]) for run in skipped[:2]] == [1000, 1000]
        assert 29 <= len(found) - len(skipped) <= 32


class TestASchedule:
    def test_that_is_paused_does_not_fire_and_catches_nothing_up(self, session: Session) -> None:
        """Runs due during the pause are skipped; it continues with the next one."""
        schedule = new_schedule(session, catch_up=CatchUp.ALL, overlap="queue")
        pass_by(session, schedule, 3 * A_DAY)
        assert [pause(session, schedule.id) for _ in range(2)] == [True, False]
        assert fire(session) == 0
        session.expire_all()
        assert [resume(session, schedule) for _ in range(2)] == [True, False]
        assert fire(session) == 0
        session.expire_all()
        assert schedule.next_fire_at > datetime.now(UTC)

    def test_that_is_removed_does_not_fire_and_frees_its_name(self, session: Session) -> None:
        """Its waiting runs are not begun; the rows of begun ones stay."""
        schedule = new_schedule(session)
        pass_by(session, schedule)
        fire(session)
        assert [remove(session, schedule.id) for _ in range(2)] == [True, False]
        assert [run.note for run in runs(session, schedule)] == ["its schedule was removed"]
        pass_by(session, schedule)
        assert fire(session) == 0
        assert new_schedule(session).id != schedule.id

    def test_run_now_fires_beside_the_clock(self, session: Session) -> None:
        """It fires now, also while paused; the next run is unchanged."""
        schedule = new_schedule(session)
        pause(session, schedule.id)
        before = schedule.next_fire_at
        assert run_now(session, schedule.id)
        (run,) = runs(session, schedule)
        assert (run.state, run.note) == ("waiting", "it was run by hand")
        assert schedule.next_fire_at == before

    def test_whose_zone_is_gone_fails_and_is_paused_while_others_fire(self, session: Session) -> None:
        """An upgrade of the zone database may remove a zone."""
        broken, well = new_schedule(session, "broken"), new_schedule(session, "well")
        for schedule in (broken, well):
            pass_by(session, schedule)
        broken.zone = "Mars/Base"
        session.flush()
        assert fire(session) == 2
        (run,) = runs(session, broken)
        assert (run.state, broken.paused_at is None) == ("failed", False)
        assert run.note
        assert "'Mars/Base' does not exist" in run.note
        assert states(session, well) == ["waiting"]


class TestASkip:
    def test_that_is_accepted_while_runs_are_planned_holds(self, session: Session) -> None:
        """The plan that was made before it moves nothing; the next step writes the skipped run."""
        schedule = new_schedule(session)
        at = pass_by(session, schedule)
        planned = list(_plan_all(session.execute(DUE).all()))
        assert skip(session, schedule.id, at)
        moves, fired = [one.move() for one in planned], [run for one in planned for run in one.fired()]
        assert session.scalars(FIRE, {"moves": moves, "fired": fired}).all() == []
        assert fire(session) == 1
        (run,) = runs(session, schedule)
        assert (run.state, run.fire_at, run.note) == ("skipped", at, SKIPPED)
