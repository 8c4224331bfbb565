"""The report of a run that has ended."""

import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cutout.enums import AttemptOutcome, RunState, State
from cutout.models import Attempt, Ingest, Job, Run, Schedule
from cutout.status.producer_texts import text_for_producer

SLOWEST = 5
MOST_CODES = 50


@dataclass(frozen=True, slots=True)
class Trouble:
    """Number of jobs that failed or are held with one code, and one of their messages."""

    state: State
    code: str
    jobs: int
    message: str | None


@dataclass(frozen=True, slots=True)
class SlowCall:
    """One of the slowest calls."""

    external_id: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of a run. Credits: surely `charged`, perhaps charged (`unknown`), and `saved` by reuse.

    `counts` has the pictures that were new, changed, unchanged and so on, the rejects, the jobs by state.
    `skipped` has the files of the source that were not taken, by reason, with the first names.
    """

    run_id: uuid.UUID
    schedule: str
    source: str
    state: RunState
    note: str | None
    fire_at: datetime
    started_at: datetime | None
    finished_at: datetime
    batch_id: uuid.UUID | None
    counts: dict[str, int] = field(default_factory=dict)
    charged: int = 0
    unknown: int = 0
    saved: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    slowest: list[SlowCall] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    rejects_key: str | None = None
    results_key: str | None = None

    @property
    def seconds(self) -> float | None:
        """The run's duration; None if it did not begin."""
        return (self.finished_at - self.started_at).total_seconds() if self.started_at else None

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, with times as ISO 8601."""
        plain = asdict(self) | {"seconds": self.seconds}
        return {name: _plain(value) for name, value in plain.items()}


def gather(session: Session, run_id: uuid.UUID) -> Report:
    """The report of a run. Raises NoResultFound if there is none, ValueError if it has not ended."""
    run = session.get_one(Run, run_id)
    schedule = session.get_one(Schedule, run.schedule_id)
    if run.finished_at is None:
        raise ValueError(f"the run {run_id} has not ended")
    report = Report(
        run_id=run.id,
        schedule=schedule.name,
        source=schedule.source,
        state=RunState(run.state),
        note=run.note,
        fire_at=run.fire_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        batch_id=run.batch_id,
        counts=dict(run.counts or {}),
    )
    if run.batch_id is not None:
        report = _with_batch(session, report, run.batch_id)
    return report if schedule.producer_id is None else _for_producer(report)


def _for_producer(report: Report) -> Report:
    return replace(
        report,
        note=report.note and text_for_producer(report.note),
        remarks=[text_for_producer(remark) for remark in report.remarks],
        troubles=[
            replace(trouble, message=trouble.message and text_for_producer(trouble.message))
            for trouble in report.troubles
        ],
    )


def _with_batch(session: Session, report: Report, batch_id: uuid.UUID) -> Report:
    charged = _attempts(session, batch_id, Attempt.outcome == AttemptOutcome.CHARGED)
    unknown = _attempts(session, batch_id, Attempt.outcome == AttemptOutcome.UNKNOWN)
    reused = select(func.count()).where(Job.batch_id == batch_id, Job.reused)
    ingest = session.get(Ingest, batch_id)
    fields = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    return Report(
        **fields
        | {
            "charged": charged,
            "unknown": unknown,
            "saved": session.scalars(reused).one(),
            "troubles": _troubles(session, batch_id),
            "slowest": _slowest(session, batch_id),
            "skipped": (ingest.skipped if ingest else None) or [],
            "remarks": (ingest.remarks if ingest else None) or [],
            "rejects_key": ingest.rejects_key if ingest else None,
        }
    )


def _attempts(session: Session, batch_id: uuid.UUID, which: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(Attempt).join(Job, Job.id == Attempt.job_id)
    return session.scalars(counted.where(Job.batch_id == batch_id, which)).one()


def _troubles(session: Session, batch_id: uuid.UUID) -> list[Trouble]:
    rows = session.execute(
        select(Job.state, Job.code, func.count(), func.min(Job.message))
        .where(Job.batch_id == batch_id, Job.state.in_([State.FAILED, State.HELD]))
        .group_by(Job.state, Job.code)
        .order_by(func.count().desc(), Job.code)
        .limit(MOST_CODES)
    )
    return [Trouble(State(state), code or "", count, message) for state, code, count, message in rows]


def _slowest(session: Session, batch_id: uuid.UUID) -> list[SlowCall]:
    took = func.extract("epoch", Attempt.ended_at - Attempt.begun_at)
    rows = session.execute(
        select(Job.external_id, took)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(Job.batch_id == batch_id, Attempt.ended_at.is_not(None))
        .order_by(took.desc())
        .limit(SLOWEST)
    )
    return [SlowCall(external_id, round(float(seconds), 3)) for external_id, seconds in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value
