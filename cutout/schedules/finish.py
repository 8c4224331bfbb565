"""Moves a run from `ingesting` to `working` to its final state."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, and_, func, or_, select, update
from sqlalchemy.orm import Session

from cutout.enums import UNDER_WAY, AtWindowEnd, RunState, State, Step
from cutout.models import BATCHES, RUNS, Ingest, Job, Run, Schedule, constant
from cutout.models.database import Database
from cutout.status.batch_credits import credits_of_batch
from cutout.text import cut

MOST_RUNS = 100
OVER_BUDGET = "OVER_BUDGET"

OF_THE_BATCH = Job.batch_id == Run.batch_id
MOVES = select(Job.id).where(OF_THE_BATCH, Job.state.in_([State.QUEUED, State.RUNNING])).exists()
# Jobs that a closed window stops; copies and open calls end by themselves.
IS_READY_FOR_CALL = (
    select(Job.id).where(OF_THE_BATCH, Job.state == State.QUEUED, Job.step == Step.CALL).exists()
)
IS_OVERRUN = and_(Run.closes_at <= func.now(), Schedule.at_window_end == AtWindowEnd.WAIT, IS_READY_FOR_CALL)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Counts of a run's batch: jobs by state, pictures of its source, credits."""

    by_state: dict[State, int]
    over_budget: int
    rejected: int
    skipped: int
    changes: Mapping[str, int]
    credits: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values())

    @property
    def end(self) -> RunState:
        succeeded = self.by_state[State.SUCCEEDED]
        if self.over_budget:
            return RunState.OVER_BUDGET
        if succeeded == self.total:
            return RunState.PARTIAL if self.rejected else RunState.SUCCEEDED
        return RunState.PARTIAL if succeeded else RunState.FAILED

    def as_json(self) -> dict[str, int]:
        states = {str(state): count for state, count in self.by_state.items()}
        whole = {"jobs": self.total, "rejected": self.rejected, "skipped": self.skipped}
        whole["credits"] = self.credits
        return {**whole, **states, **self.changes}


def read_runs(session: Session) -> list[uuid.UUID]:
    """Runs whose ingest has ended, whether or not it succeeded."""
    read = select(Run.id).join(Ingest, Ingest.batch_id == Run.batch_id)
    return list(
        session.scalars(
            read.where(Run.state == RunState.INGESTING, Ingest.finished_at.is_not(None)).limit(MOST_RUNS)
        )
    )


def advance(session: Session, run_id: uuid.UUID) -> None:
    """Move a run whose ingest has ended to `working`, or to `failed` with a note if the ingest failed."""
    run = _locked(session, run_id, RunState.INGESTING)
    if run is None:
        return
    ingest = session.get_one(Ingest, run.batch_id)
    if ingest.error is not None:
        _end_run(session, run, RunState.FAILED, f"its source was not read: {ingest.error}")
        return
    run.state = RunState.WORKING


def ended_runs(session: Session) -> list[uuid.UUID]:
    """Runs whose jobs have ended, or whose window closed before that."""
    working = select(Run.id).join(Schedule, Schedule.id == Run.schedule_id)
    return list(
        session.scalars(
            working.where(Run.state == RunState.WORKING, or_(~MOVES, IS_OVERRUN)).limit(MOST_RUNS)
        )
    )


def end(session: Session, run_id: uuid.UUID) -> None:
    """End such a run, unless one of its jobs is under way again."""
    run = _locked(session, run_id, RunState.WORKING)
    if run is None:
        return
    state = select(MOVES, IS_OVERRUN, func.now()).select_from(Run).join(Schedule).where(Run.id == run.id)
    moves, is_overrun, now = session.execute(state).one()
    if is_overrun:
        _end_run(session, run, RunState.LATE, _overrun_note(session, run))
    elif not moves:
        _end_run(session, run, None, _late_end_note(run.closes_at, now))


def count_run(session: Session, batch_id: uuid.UUID) -> RunCounts:
    """Count the batch; its rejects as far as its source was read."""
    rows: list[Row[str, int, int]] = list(
        session.execute(
            select(Job.state, func.count(), func.count().filter(Job.code == OVER_BUDGET))
            .where(Job.batch_id == batch_id)
            .group_by(Job.state)
        )
    )
    by_state = dict.fromkeys(State, 0) | {State(state): count for state, count, _ in rows}
    over_budget = sum(over for state, _, over in rows if state == State.HELD)
    ingest = session.get_one(Ingest, batch_id)
    spent = credits_of_batch(session, batch_id)
    skipped = sum(found["count"] for found in ingest.skipped or ())
    return RunCounts(by_state, over_budget, ingest.rejects, skipped, ingest.changes or {}, spent)


def _locked(session: Session, run_id: uuid.UUID, state: RunState) -> Run | None:
    return session.scalar(
        select(Run).where(Run.id == run_id, Run.state == state).with_for_update(skip_locked=True)
    )


def _end_run(session: Session, run: Run, state: RunState | None, note: str | None) -> None:
    """Write the run's end; without a state, its jobs decide it."""
    found = count_run(session, run.batch_id) if run.batch_id else None
    ends_as = state or (found.end if found else RunState.FAILED)
    if note is None and ends_as is RunState.FAILED:
        note = "no job succeeded"
    notes = [text for text in (run.note, note) if text]
    session.execute(
        update(Run)
        .where(Run.id == run.id)
        .values(
            state=ends_as,
            note=cut("; ".join(notes)) or None,
            counts=found.as_json() if found else None,
            finished_at=func.now(),
        )
    )


def _late_end_note(closed_at: datetime | None, now: datetime) -> str | None:
    if closed_at is None or closed_at >= now:
        return None
    return f"it ended after its window, which closed at {closed_at:%Y-%m-%d %H:%M} UTC"


def _overrun_note(session: Session, run: Run) -> str:
    left = session.scalars(
        select(func.count()).where(
            Job.batch_id == run.batch_id, Job.state == State.QUEUED, Job.step == Step.CALL
        )
    ).one()
    return f"{left:,} jobs were left when its window closed; they continue in the next one"


RUNS_ARE_OPEN = select(
    or_(
        select(RUNS.c.id).where(RUNS.c.state == constant(RunState.WAITING)).exists(),
        select(RUNS.c.id).where(RUNS.c.state.in_([constant(state) for state in UNDER_WAY])).exists(),
        select(BATCHES.c.id).where(BATCHES.c.closes_at <= func.now()).exists(),
    )
)


def runs_are_open(database: Database) -> bool:
    """Whether a run waits or is under way, or a batch's window has closed."""
    return bool(database.scalar(RUNS_ARE_OPEN))
