"""Workers are known by a heartbeat. A job is rescued because its worker is gone, never because it is old."""

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
from cutout.models import JOBS, WORKERS, Attempt, Job, Worker, constant
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Hold, Outcome, Snooze, Unknown, WorkerDied
from cutout.queue.claims import Claim
from cutout.queue.settle import Bounds, settle

MOST_RESCUED = 200
# The last of them with nothing else in hand: worker/pipeline/exclusive.py.
MOST_DEATHS = 3
HEARD_WITHIN = timedelta(seconds=60)
USUAL_THREADS = 32
# Of a worker that has no row: it is given a silence like any other.
NOBODY: ColumnElement[bool] = false()
SAID_GOODBYE = (
    select(Worker.id).where(Worker.id == Job.worker_id, Worker.left_at.is_not(None)).correlate(Job).exists()
)
NEVER_HEARD = datetime.min.replace(tzinfo=UTC)

RUNNING = constant(State.RUNNING)
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

JobsInHand = Collection[tuple[uuid.UUID, int]]
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
    """A worker process as its row names it; `call_threads` jobs at the step `call` are carried at once."""

    id: uuid.UUID
    host: str
    pid: int
    call_threads: int | None = None


def register(database: Database, *, host: str, pid: int, call_threads: int | None = None) -> uuid.UUID:
    """Add a worker process; returns its id."""
    new = insert(Worker).values(host=host, pid=pid, call_threads=call_threads)
    return database.scalars(new.returning(Worker.id)).one()


def beat(database: Database, who: Identity, carried: JobsInHand = (), *, last: int = 0) -> int:
    """Say that the worker lives, by the database's clock, and what it carries; returns the beat's number.

    A row that is gone, lost with a failover or a restore, is added anew with the number after `last`. That
    beat says nothing of what is carried: it may be older than a claim made while there was no row.
    """
    jobs, fences = [job for job, _ in carried], [fence for _, fence in carried]
    said = {"worker": who.id, "host": who.host, "pid": who.pid, "call_threads": who.call_threads}
    said |= {"beat": last + 1}
    return database.scalars(BEAT, said | {"jobs": jobs, "fences": fences}).one()


def leave(database: Database, worker_id: uuid.UUID) -> None:
    """Say that the worker ends now: what it may have left undone need not wait for its silence."""
    database.execute(update(Worker).where(Worker.id == worker_id).values(left_at=func.now()))


def heartbeats(database: Database) -> dict[uuid.UUID, datetime | None]:
    """The last heartbeat of every worker that holds jobs; None for one that has left.

    One without a row is not known to have left: its heartbeat is always the same.
    """
    rows = database.execute(HOLDERS)
    return {row.worker_id: None if row.left_at else row.heartbeat_at or NEVER_HEARD for row in rows}


def heard_lately(database: Database, *, within: timedelta = HEARD_WITHIN) -> bool:
    """Whether any worker that has not left was heard within that time, a minute by default."""
    heard = select(Worker.id).where(Worker.left_at.is_(None), Worker.heartbeat_at > func.now() - within)
    return bool(database.scalar(select(heard.exists())))


def call_threads(database: Database, *, within: timedelta = HEARD_WITHIN) -> int | None:
    """Jobs at the step `call` that all workers heard within that time carry at once; None if none was heard.

    A worker that does not reach the bucket carries none. One that does not say it counts as USUAL_THREADS.
    """
    count, threads = database.execute(CALL_THREADS, {"within": within}).one()
    return int(threads or 0) if count else None


def rescue(database: Database, gone: Collection[uuid.UUID], bounds: Bounds) -> int:
    """Settle jobs of workers that are gone; returns how many. Past MOST_RESCUED, call it again.

    A call that was begun and has no known end is an unknown charge; anything else just goes on later.
    Each statement may be the last one of a dispatcher that dies: the next rescue ends the same.
    """
    return rescue_where(database, Job.worker_id.in_(gone), bounds, died=not_(SAID_GOODBYE))


def rescue_where(
    database: Database, orphaned: ColumnElement[bool], bounds: Bounds, *, died: ColumnElement[bool] = NOBODY
) -> int:
    """The same with those running jobs of which `orphaned` is true; where `died` is, it counts as a death."""
    beside = aliased(Job)
    has_others = exists().where(
        beside.worker_id == Job.worker_id, beside.state == State.RUNNING, beside.id != Job.id
    )
    orphans = database.execute(
        select(
            Job.id,
            Job.fence,
            Job.worker_id,
            Job.step,
            Job.tries,
            Job.return_form,
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
            step=Step(row.step),
            tries=row.tries,
            attempts=0,
            calls=0,
            result=None,
            deaths=row.deaths,
        )
        outcome = _what_became_of(database, claim, died=row.died, was_alone=not row.has_others)
        settle(database, claim, outcome, bounds)
    return len(orphans)


def _what_became_of(database: Database, claim: Claim, *, died: bool, was_alone: bool) -> Outcome:
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
        return Snooze("WORKER_GONE", "its worker died; it goes on where it was", 0.0)
    deaths = claim.deaths + 1
    if deaths < MOST_DEATHS:
        return WorkerDied("WORKER_GONE", f"its worker died; it goes on where it was (death {deaths})")
    if not was_alone:
        # It still waited to be alone: another job may have ended the worker, and nothing counts against it.
        return Snooze("WORKER_GONE", "its worker died before it was alone; it goes on where it was", 0.0)
    words = f"{deaths} workers died with it, the last one with nothing else in hand; look at the picture"
    return Hold("PICTURE_KILLS_WORKER", words)
