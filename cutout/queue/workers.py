"""Workers and their heartbeats. A job is rescued because its worker is dead, never because it is old."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Interval,
    Uuid,
    bindparam,
    exists,
    false,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningInsert

from cutout.enums import AttemptOutcome, ReturnForm, State, Step
from cutout.models import JOBS, WORKERS, Attempt, Job, Worker
from cutout.models.columns import RUNNING
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Hold, Outcome, Snooze, Unknown, WorkerDied
from cutout.queue.claims import Claim
from cutout.queue.settle import RetryLimits, settle

MOST_RESCUED = 200
# At the last of them the worker has no other job: worker/pipeline/exclusive.py.
MOST_DEATHS = 3
HEARD_WITHIN = timedelta(seconds=60)
USUAL_THREADS = 32
NOBODY: ColumnElement[bool] = false()
HAS_LEFT = (
    select(Worker.id).where(Worker.id == Job.worker_id, Worker.left_at.is_not(None)).correlate(Job).exists()
)
# The heartbeat of a worker without a row: its silence counts like that of any other.
NEVER_HEARD = datetime.min.replace(tzinfo=UTC)

_HOLDERS = select(JOBS.c.worker_id).where(JOBS.c.state == RUNNING).distinct().subquery()
HOLDERS = select(_HOLDERS.c.worker_id, WORKERS.c.heartbeat_at, WORKERS.c.left_at).outerjoin_from(
    _HOLDERS, WORKERS, WORKERS.c.id == _HOLDERS.c.worker_id
)
CALL_THREADS = select(
    func.count(),
    func.sum(func.coalesce(WORKERS.c.call_threads, USUAL_THREADS)).filter(WORKERS.c.cut_off_at.is_(None)),
).where(
    WORKERS.c.left_at.is_(None), WORKERS.c.heartbeat_at > func.now() - bindparam("within", type_=Interval)
)

HeldJobs = Collection[tuple[uuid.UUID, int]]
"""Jobs with their fences."""


def _beat() -> ReturningInsert[int]:
    new = insert_or_update(WORKERS).values(
        id=bindparam("worker"),
        host=bindparam("host"),
        pid=bindparam("pid"),
        call_threads=bindparam("call_threads"),
        beats=bindparam("beat"),
    )
    return new.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "heartbeat_at": func.now(),
            "beats": WORKERS.c.beats + 1,
            "carried_jobs": bindparam("jobs", type_=ARRAY(Uuid)),
            "carried_fences": bindparam("fences", type_=ARRAY(Integer)),
        },
    ).returning(WORKERS.c.beats)


BEAT = _beat()


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker process as in its row; `call_threads` is the number of its threads for the step `call`."""

    id: uuid.UUID
    host: str
    pid: int
    call_threads: int | None = None


def register(database: Database, *, host: str, pid: int, call_threads: int | None = None) -> uuid.UUID:
    """Add a worker process; returns its id."""
    new = insert(Worker).values(host=host, pid=pid, call_threads=call_threads)
    return database.scalars(new.returning(Worker.id)).one()


def beat(database: Database, who: Identity, in_flight: HeldJobs = (), *, last: int = 0) -> int:
    """Record a heartbeat, by the database's clock, with the jobs in flight; returns the beat's number.

    A row that was lost, by a failover or a restore, is added again with the number after `last`, and without
    the jobs in flight: they may be older than a claim made while there was no row.
    """
    jobs, fences = [job for job, _ in in_flight], [fence for _, fence in in_flight]
    values = {"worker": who.id, "host": who.host, "pid": who.pid, "call_threads": who.call_threads}
    values |= {"beat": last + 1}
    return database.scalars(BEAT, values | {"jobs": jobs, "fences": fences}).one()


def leave(database: Database, worker_id: uuid.UUID) -> None:
    """Record that the worker ends now: its unfinished jobs are rescued without waiting for its silence."""
    database.execute(update(Worker).where(Worker.id == worker_id).values(left_at=func.now()))


def heartbeats(database: Database) -> dict[uuid.UUID, datetime | None]:
    """Map each worker that holds jobs to its last heartbeat; None for one that has left.

    A worker without a row may not have left: its heartbeat is always the same.
    """
    rows = database.execute(HOLDERS)
    return {row.worker_id: None if row.left_at else row.heartbeat_at or NEVER_HEARD for row in rows}


def heard_lately(database: Database, *, within: timedelta = HEARD_WITHIN) -> bool:
    """Whether a worker that has not left sent a heartbeat within that time."""
    heard = select(Worker.id).where(Worker.left_at.is_(None), Worker.heartbeat_at > func.now() - within)
    return bool(database.scalar(select(heard.exists())))


def call_threads(database: Database, *, within: timedelta = HEARD_WITHIN) -> int | None:
    """Count the threads for the step `call` of all workers heard within that time; None if none was heard.

    A worker that cannot reach the bucket counts 0, one that does not say its number USUAL_THREADS.
    """
    count, threads = database.execute(CALL_THREADS, {"within": within}).one()
    return int(threads or 0) if count else None


def rescue(database: Database, dead: Collection[uuid.UUID], bounds: RetryLimits) -> int:
    """Settle the jobs of dead workers; returns how many. At MOST_RESCUED there may be more: call it again.

    An open call becomes an unknown charge; every other job continues later. The dispatcher may die after any
    statement: the next rescue has the same result.
    """
    return rescue_where(database, Job.worker_id.in_(dead), bounds, died=not_(HAS_LEFT))


def rescue_where(
    database: Database,
    orphaned: ColumnElement[bool],
    bounds: RetryLimits,
    *,
    died: ColumnElement[bool] = NOBODY,
) -> int:
    """Settle the running jobs that match `orphaned`; where `died` is true, it counts as a death."""
    other = aliased(Job)
    has_others = exists().where(
        other.worker_id == Job.worker_id, other.state == State.RUNNING, other.id != Job.id
    )
    orphans = database.execute(
        select(
            Job.id,
            Job.fence,
            Job.worker_id,
            Job.step,
            Job.tries,
            Job.return_form,
            Job.bought_form,
            Job.source,
            Job.deaths,
            died.label("died"),
            has_others.label("has_others"),
        )
        .where(Job.state == State.RUNNING, orphaned)
        .limit(MOST_RESCUED)
        .with_for_update(skip_locked=True)
    ).all()
    for row in orphans:
        claim = Claim(
            job_id=row.id,
            fence=row.fence,
            worker_id=row.worker_id,
            batch_id=None,
            external_id=None,
            source=row.source,
            return_form=ReturnForm(row.return_form),
            bought_form=ReturnForm(row.bought_form),
            step=Step(row.step),
            tries=row.tries,
            attempts=0,
            calls=0,
            result=None,
            deaths=row.deaths,
        )
        outcome = _outcome_of(database, claim, died=row.died, was_alone=not row.has_others)
        settle(database, claim, outcome, bounds)
    return len(orphans)


def _outcome_of(database: Database, claim: Claim, *, died: bool, was_alone: bool) -> Outcome:
    in_doubt = (
        update(Attempt)
        .where(
            Attempt.job_id == claim.job_id,
            Attempt.fence == claim.fence,
            Attempt.outcome == AttemptOutcome.UNKNOWN,
        )
        .values(
            ended_at=func.coalesce(Attempt.ended_at, func.now()),
            unknown_at=func.coalesce(Attempt.unknown_at, func.now()),
            code=func.coalesce(Attempt.code, "WORKER_GONE"),
        )
        .returning(Attempt.id)
    )
    called = database.scalars(in_doubt).first() is not None
    if called and claim.step is Step.CALL:
        return Unknown(
            "WORKER_GONE", "the worker died during the call; the endpoint may have charged a credit"
        )
    if not died or called:
        return Snooze("WORKER_GONE", "its worker died; it continues at its step", 0.0)
    deaths = claim.deaths + 1
    if deaths < MOST_DEATHS:
        return WorkerDied("WORKER_GONE", f"its worker died; it continues at its step (death {deaths})")
    if not was_alone:
        # It still waited to be alone in its worker: another job may have killed the worker.
        return Snooze(
            "WORKER_GONE", "its worker died before the job was alone in it; it continues at its step", 0.0
        )
    message = f"{deaths} workers died with it, the last one while it had no other job; look at the picture"
    return Hold("PICTURE_KILLS_WORKER", message)
