import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Priority, ReturnForm, Step
from cutout.models import Batch, Ingest, Job, Run, Schedule
from cutout.outputs.options import OutputOptions
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Snooze
from cutout.queue.bulk import begin_cancelling
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.schedules.fire import fire
from cutout.schedules.local_time import reading_at
from cutout.schedules.manage import run_now
from cutout.schedules.start import start, startable
from cutout.schedules.windows import parse_window
from cutout.status.explanation import database_now
from tests.cutout.schedules.steps import (
    A_DAY,
    due_since,
    finish_ingest,
    new_schedule,
    pass_by,
    runs,
    see_through,
    states,
)
from tests.support.fates import DONE
from tests.support.steps import SOURCE, claim_one, new_worker, paid

BROKEN = Fail("IMAGE_DAMAGED", "it cannot be read")
TOO_DEAR = Hold("OVER_BUDGET", "no credits", blocked=True)
ASK = Hold("NO_ANSWER", "who knows")
PARIS = ZoneInfo("Europe/Paris")


def begun(session: Session, schedule: Schedule, **passed: timedelta) -> Run:
    """The schedule's next run, fired and begun."""
    pass_by(session, schedule, **passed)
    fire(session)
    see_through(session)
    run = runs(session, schedule)[-1]
    assert run.state == "ingesting"
    return run


def read(session: Session, run: Run, fates: list[Outcome | None], **counts: int) -> None:
    """End the ingest of its source, and its jobs in these states; None leaves one ready."""
    assert run.batch_id
    worker_id = new_worker(session)
    batch = session.get_one(Batch, run.batch_id)
    window = batch.opens_at, batch.closes_at
    batch.opens_at = batch.closes_at = None
    for n, outcome in sorted(enumerate(fates), key=lambda pair: pair[1] is None):
        enqueue_all(session, [NewJob(SOURCE, str(n))], batch_id=run.batch_id)
        if outcome is not None:
            queue.settle(session, claim_one(session, worker_id), outcome)
    batch.opens_at, batch.closes_at = window
    finish_ingest(session, run.batch_id, counts)


def move_window(session: Session, run: Run, *, closed_ago: timedelta) -> None:
    """Set the end of the run's window to that long ago."""
    # By the transaction's own clock, which stands still from its begin.
    closed = database_now(session) - closed_ago
    moved = {"id": run.id, "batch": run.batch_id, "closed": closed}
    session.execute(
        text(
            "UPDATE batches SET opens_at = CAST(:closed AS timestamptz) - interval '5 h',"
            " closes_at = CASE WHEN closes_at IS NULL THEN NULL ELSE CAST(:closed AS timestamptz) END"
            " WHERE id = :batch"
        ),
        moved,
    )
    session.execute(text("UPDATE runs SET closes_at = :closed WHERE id = :id"), moved)
    session.expire_all()


class TestARunBegins:
    def test_with_a_batch_as_the_schedule_says(self, session: Session) -> None:
        """The batch is named after schedule and night; its source waits for an ingester."""
        from cutout.schedules.definition import Options  # noqa: PLC0415

        options = Options(
            (ReturnForm.MASK, ReturnForm.CROP),
            Priority.BULK,
            2.5,
            False,
            {"source": "Image URL"},
            "cp1252",
            True,
        )
        schedule = new_schedule(session, options=options, run_budget=40)
        due_since(session, schedule, datetime(2026, 6, 9, 23, 15, tzinfo=UTC))
        schedule.catch_up = "all"  # type: ignore[assignment]
        fire(session)
        see_through(session)
        run = next(run for run in runs(session, schedule) if run.state == "ingesting")
        batch = session.get_one(Batch, run.batch_id)
        ingest = session.get_one(Ingest, run.batch_id)
        assert (batch.name, batch.weight, batch.budget, batch.reuse) == (
            "nightly 2026-06-10 01:15",
            2.5,
            40,
            False,
        )
        assert (batch.opens_at, batch.closes_at) == (None, None)
        assert (ingest.source, ingest.finished_at) == (schedule.source, None)
        assert ingest.options["forms"] == ["mask", "crop"]
        assert ingest.options["priority"] == 2
        assert (ingest.options["columns"], ingest.options["encoding"]) == ({"source": "Image URL"}, "cp1252")
        assert ingest.options["keys"] is True

    def test_one_at_a_time_where_runs_queue(self, session: Session) -> None:
        """The second run begins after the first one's end."""
        schedule = new_schedule(session, overlap="queue")
        first = begun(session, schedule)
        assert run_now(session, schedule.id)
        see_through(session)
        assert states(session, schedule) == ["ingesting", "waiting"]
        read(session, first, [DONE])
        see_through(session)
        see_through(session)
        assert states(session, schedule) == ["succeeded", "ingesting"]

    def test_or_not_at_all_where_overlap_is_skipped(self, session: Session) -> None:
        """The run under way is not disturbed; the other records why it never began."""
        schedule = new_schedule(session, overlap="skip")
        begun(session, schedule)
        assert run_now(session, schedule.id)
        see_through(session)
        assert states(session, schedule) == ["ingesting", "skipped"]
        assert "another run of its schedule was under way" in (runs(session, schedule)[1].note or "")

    def test_not_while_the_one_before_it_is_being_cancelled(self, session: Session) -> None:
        """Paid results of the earlier run are copied first; then the next run begins."""
        schedule = new_schedule(session, overlap="queue")
        first = begun(session, schedule)
        assert first.batch_id
        read(session, first, [None, None])
        claim = paid(session, claim_one(session, new_worker(session)))
        queue.settle(session, claim, Snooze("STORAGE_AWAY", "x", 0.0))
        begin_cancelling(session, first.batch_id)
        ids = session.scalars(select(Job.id).where(Job.batch_id == first.batch_id)).all()
        assert queue.cancel_all(session, ids) == 1
        assert run_now(session, schedule.id)
        for _ in range(2):
            see_through(session)
        assert states(session, schedule) == ["working", "waiting"]
        session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE step = 'copy'"))
        queue.settle(session, claim_one(session, claim.worker_id, Step.COPY), DONE)
        for _ in range(2):
            see_through(session)
        assert states(session, schedule) == ["partial", "ingesting"]

    def test_once_though_two_leaders_begin_it(self, engine: Engine) -> None:
        """The second transaction fails on the unique index; there is one batch."""
        with Session(engine) as session, session.begin():
            schedule = new_schedule(session, overlap="queue")
            for n in (2, 1):
                session.add(
                    Run(
                        schedule_id=schedule.id,
                        fire_at=pass_by(session, schedule, n * A_DAY),
                        due_at=datetime.now(UTC),
                    )
                )
            session.flush()
            ids = [run.id for run in runs(session, schedule)]
        with Session(engine) as first, Session(engine) as second:
            start(first, ids[0], OutputOptions())
            first.flush()
            # Passed over while the other has it.
            start(second, ids[0], OutputOptions())
            second.commit()
            first.commit()
            start(second, ids[0], OutputOptions())
            start(second, ids[1], OutputOptions())
            with pytest.raises(IntegrityError, match="uq_runs_schedule_id_under_way"):
                second.commit()
        with Session(engine) as session:
            assert session.query(Batch).count() == 1
            assert startable(session) == []


class TestARunEnds:
    @pytest.mark.parametrize(
        ("fates", "counts", "state"),
        [
            ([DONE, DONE], {}, "succeeded"),
            ([], {}, "succeeded"),
            ([DONE, BROKEN], {}, "partial"),
            ([DONE, ASK], {}, "partial"),
            ([DONE], {"pictures": 1, "rejects": 1}, "partial"),
            ([BROKEN, BROKEN], {}, "failed"),
            ([DONE, TOO_DEAR, BROKEN], {}, "over_budget"),
        ],
    )
    def test_as_its_jobs_did(
        self, session: Session, fates: list[Outcome | None], counts: dict[str, int], state: str
    ) -> None:
        """A run ends once none of its jobs is under way; held ones wait for a person, not for the run."""
        schedule = new_schedule(session)
        run = begun(session, schedule)
        read(session, run, fates, **counts)
        see_through(session)
        see_through(session)
        (run,) = runs(session, schedule)
        assert run.state == state
        assert run.finished_at
        assert run.counts
        assert run.counts["jobs"] == len(fates)
        assert run.counts["succeeded"] == fates.count(DONE)
        assert run.counts["rejected"] == counts.get("rejects", 0)

    def test_not_while_a_job_moves(self, session: Session) -> None:
        """A run does not end while its source is read, either."""
        schedule = new_schedule(session)
        run = begun(session, schedule)
        enqueue_all(session, [NewJob(SOURCE, "x")], batch_id=run.batch_id)
        see_through(session)
        assert states(session, schedule) == ["ingesting"]
        finish_ingest(session, run.batch_id)
        see_through(session)
        see_through(session)
        assert states(session, schedule) == ["working"]

    def test_failed_if_its_source_could_not_be_read(self, session: Session) -> None:
        """The run has the reason; the next night's run begins."""
        schedule = new_schedule(session)
        run = begun(session, schedule)
        finish_ingest(session, run.batch_id, error="s3://studio-drop/ holds no pictures")
        see_through(session)
        (run,) = runs(session, schedule)
        assert (run.state, run.note) == (
            "failed",
            "its source was not read: s3://studio-drop/ holds no pictures",
        )
        assert run_now(session, schedule.id)
        see_through(session)
        assert states(session, schedule) == ["failed", "ingesting"]


class TestAWindow:
    def test_is_given_to_the_batch_as_it_begins(self, session: Session) -> None:
        """Batch and run get the present opening, or the next one."""
        schedule = new_schedule(session, window=parse_window("01:00-06:00"))
        run = begun(session, schedule)
        batch = session.get_one(Batch, run.batch_id)
        assert batch.opens_at
        assert batch.closes_at == run.closes_at
        assert batch.closes_at
        assert batch.closes_at > datetime.now(UTC)
        # Five hours but in the two nights a year in which clocks change.
        readings = [reading_at(at, PARIS) for at in (batch.opens_at, batch.closes_at)]
        assert [f"{reading:%H:%M}" for reading in readings] == ["01:00", "06:00"]

    def test_that_closes_too_early_makes_the_run_late_and_the_rest_wait(self, session: Session) -> None:
        """The remaining jobs continue in the next window."""
        now = datetime.now(PARIS)
        just_closed = f"{now - timedelta(hours=5):%H:%M}-{now - timedelta(hours=1):%H:%M}"
        schedule = new_schedule(session, window=parse_window(just_closed))
        run = begun(session, schedule)
        read(session, run, [DONE, None, None])
        see_through(session)
        move_window(session, run, closed_ago=timedelta(seconds=1))
        see_through(session)
        (run,) = runs(session, schedule)
        assert (run.state, run.note) == (
            "late",
            "2 jobs were left when its window closed; they continue in the next one",
        )
        batch = session.get_one(Batch, run.batch_id)
        assert batch.opens_at
        assert batch.opens_at > datetime.now(UTC)
        see_through(session)
        assert states(session, schedule) == ["late"]

    def test_does_not_keep_a_paid_copy(self, session: Session) -> None:
        """A run whose calls were all made ends by itself, however late its copies come."""
        schedule = new_schedule(session, window=parse_window("01:00-06:00"))
        run = begun(session, schedule)
        read(session, run, [DONE, None])
        session.execute(
            text(
                "UPDATE jobs SET step = 'copy', result_url = 'https://r.example/a',"
                " result_expires_at = now() + interval '1 day' WHERE state = 'queued'"
            )
        )
        see_through(session)
        move_window(session, run, closed_ago=timedelta(minutes=1))
        see_through(session)
        assert states(session, schedule) == ["working"]

    def test_may_be_run_past(self, session: Session) -> None:
        """Calls must begin in the window, not end, and the run ends when it is done."""
        schedule = new_schedule(session, window=parse_window("01:00-06:00"), at_window_end="run_on")
        run = begun(session, schedule)
        assert session.get_one(Batch, run.batch_id).closes_at is None
        read(session, run, [DONE, None])
        see_through(session)
        move_window(session, run, closed_ago=timedelta(minutes=1))
        see_through(session)
        assert states(session, schedule) == ["working"]
        queue.settle(session, claim_one(session, new_worker(session)), DONE)
        see_through(session)
        (run,) = runs(session, schedule)
        assert run.state == "succeeded"
        assert (run.note or "").startswith("it ended after its window, which closed at 20")

    def test_is_forgotten_once_all_is_done(self, session: Session) -> None:
        """Finished batches are not checked every night; a retry starts at once."""
        schedule = new_schedule(session, window=parse_window("01:00-06:00"))
        run = begun(session, schedule)
        read(session, run, [DONE, BROKEN])
        see_through(session)
        see_through(session)
        move_window(session, run, closed_ago=timedelta(minutes=1))
        see_through(session)
        batch = session.get_one(Batch, run.batch_id)
        assert (batch.opens_at, batch.closes_at) == (None, None)

    def test_is_kept_for_what_is_held(self, session: Session) -> None:
        """A budget raised at noon starts nothing before the night."""
        schedule = new_schedule(session, window=parse_window("01:00-06:00"))
        run = begun(session, schedule)
        read(session, run, [DONE, TOO_DEAR])
        see_through(session)
        move_window(session, run, closed_ago=timedelta(minutes=1))
        see_through(session)
        batch = session.get_one(Batch, run.batch_id)
        assert batch.closes_at
        assert batch.closes_at > datetime.now(UTC)


class TestBudgets:
    @pytest.mark.parametrize(
        ("run_budget", "month_budget", "expected"),
        [(None, None, None), (40, None, 40), (None, 100, 100), (40, 100, 40), (400, 100, 100), (0, 100, 0)],
    )
    def test_the_smaller_one_bounds_the_batch(
        self, session: Session, run_budget: int | None, month_budget: int | None, expected: int | None
    ) -> None:
        """The bound is the smaller of the run's budget and the month's rest."""
        schedule = new_schedule(session, run_budget=run_budget, month_budget=month_budget)
        run = begun(session, schedule)
        assert session.get_one(Batch, run.batch_id).budget == expected

    def spend(self, session: Session, batch_id: uuid.UUID | None, credits_: int) -> None:
        session.execute(
            text("UPDATE batches SET spent = :spent WHERE id = :id"), {"spent": credits_, "id": batch_id}
        )

    def fired_at(self, session: Session, schedule: Schedule, at: datetime, **more: Any) -> Run:
        """A run fired at that time, begun."""
        session.add(Run(schedule_id=schedule.id, fire_at=at, due_at=at, **more))
        session.flush()
        see_through(session)
        return next(run for run in runs(session, schedule) if run.fire_at == at)

    def test_of_a_month_is_what_its_runs_have_left(self, session: Session) -> None:
        """The calendar is that of the schedule's zone: 31 May 22:15 UTC is June in Paris."""
        schedule = new_schedule(session, month_budget=100, overlap="queue")
        budgets = []
        for at, spent in (
            (datetime(2026, 5, 31, 21, 45, tzinfo=UTC), 90),
            (datetime(2026, 5, 31, 22, 15, tzinfo=UTC), 60),
            (datetime(2026, 6, 2, 22, 15, tzinfo=UTC), 40),
            (datetime(2026, 6, 3, 22, 15, tzinfo=UTC), 0),
            (datetime(2026, 7, 3, 22, 15, tzinfo=UTC), 0),
        ):
            run = self.fired_at(session, schedule, at)
            budgets.append(session.get_one(Batch, run.batch_id).budget)
            self.spend(session, run.batch_id, spent)
            read(session, run, [DONE])
            see_through(session)
            see_through(session)
        assert budgets == [100, 100, 40, 0, 100]

    @pytest.mark.parametrize(("is_cancelled", "left"), [(False, 30), (True, 70)])
    def test_of_a_month_counts_what_an_open_batch_may_still_spend(
        self, session: Session, left: int, *, is_cancelled: bool
    ) -> None:
        """Two batches of a month never exceed it together; a cancelled one calls no more."""
        schedule = new_schedule(session, run_budget=70, month_budget=100, window=parse_window("01:00-06:00"))
        first = self.fired_at(session, schedule, datetime(2026, 6, 1, 23, 15, tzinfo=UTC))
        self.spend(session, first.batch_id, 10)
        read(session, first, [DONE, None])
        see_through(session)
        move_window(session, first, closed_ago=timedelta(seconds=1))
        see_through(session)
        assert states(session, schedule) == ["late"]
        assert first.batch_id
        if is_cancelled:
            begin_cancelling(session, first.batch_id)
        second = self.fired_at(session, schedule, datetime(2026, 6, 2, 23, 15, tzinfo=UTC))
        assert session.get_one(Batch, second.batch_id).budget == left


class TestImpossibleRuns:
    @pytest.mark.parametrize(
        ("wrong", "constraint"),
        [
            ("state = 'succeeded'", "ended_if_and_only_if_finished"),
            ("finished_at = now()", "ended_if_and_only_if_finished"),
            ("state = 'working'", "only_what_was_begun_has_a_batch"),
            ("state = 'working', started_at = now()", "begun_if_and_only_if_it_has_a_batch"),
            ("state = 'skipped', finished_at = now()", "what_went_wrong_says_why"),
            ("state = 'failed', finished_at = now()", "what_went_wrong_says_why"),
        ],
    )
    def test_are_refused_by_the_database(self, session: Session, wrong: str, constraint: str) -> None:
        """The constraints hold for any code."""
        schedule = new_schedule(session)
        pass_by(session, schedule)
        fire(session)
        with pytest.raises(IntegrityError, match=constraint), session.begin_nested():
            session.execute(text(f"UPDATE runs SET {wrong}"))  # noqa: S608
