"""Running jobs, and what their living worker says it carries.

A claim notes the number of its worker's last heartbeat. The first beat after it may have been put together
before the claim; the second was not. Where that one, or a later one, leaves the job's fence out, the worker
has given the job up. No clock is asked.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, TableValuedAlias, and_, column, func, not_, select, true

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import State
from cutout.models import JOBS, WORKERS, constant
from cutout.models.database import Database
from cutout.queue.settle import Bounds
from cutout.queue.workers import rescue_where

BEATS_AFTER_THE_CLAIM = 2


IS_RUNNING = JOBS.c.state == constant(State.RUNNING)
SAYS_SO_SINCE = and_(
    WORKERS.c.id == JOBS.c.worker_id,
    WORKERS.c.carried_jobs.is_not(None),
    WORKERS.c.beats >= func.coalesce(JOBS.c.claimed_at_beat, 0) + BEATS_AFTER_THE_CLAIM,
)


def _carried() -> TableValuedAlias:
    return (
        func.unnest(WORKERS.c.carried_jobs, WORKERS.c.carried_fences)
        .table_valued(column("job", JOBS.c.id.type), column("fence", JOBS.c.fence.type), name="carried")
        .render_derived()
    )


def _find() -> Select[uuid.UUID, str, str, int]:
    """What all workers carry is put together once, and held against what runs."""
    carried, holders = _carried(), select(JOBS.c.worker_id).where(IS_RUNNING)
    all_carried = (
        select(carried.c.job, carried.c.fence)
        .select_from(WORKERS.join(carried, true()))
        .where(WORKERS.c.id.in_(holders))
        .cte("all_carried")
    )
    is_carried = select(all_carried.c.job).where(
        all_carried.c.job == JOBS.c.id, all_carried.c.fence == JOBS.c.fence
    )
    return (
        select(JOBS.c.id, JOBS.c.step, WORKERS.c.host, WORKERS.c.pid)
        .where(IS_RUNNING, SAYS_SO_SINCE, not_(is_carried.correlate(JOBS).exists()))
        .limit(MOST_FOUND)
    )


def _gave_it_up() -> ColumnElement[bool]:
    """Of the job in an outer statement."""
    carried = _carried()
    is_carried = select(carried.c.job).where(carried.c.job == JOBS.c.id, carried.c.fence == JOBS.c.fence)
    return (
        select(WORKERS.c.id)
        .where(SAYS_SO_SINCE, not_(is_carried.correlate(JOBS, WORKERS).exists()))
        .correlate(JOBS)
        .exists()
    )


FIND = _find()
ITS_WORKER_GAVE_IT_UP = _gave_it_up()


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Jobs that run in the name of a worker that does not carry them."""
    query = FIND if scope.job_id is None else FIND.where(JOBS.c.id == scope.job_id)
    return [
        Finding(
            "job",
            row.id,
            f"it runs, at its {row.step}, and worker {row.pid} on {row.host} does not carry it any more",
            "the dispatcher that leads takes it from that worker",
        )
        for row in database.execute(query)
    ]


def repair(database: Database, found: Sequence[Finding], bounds: Bounds) -> int:
    """Rescue them as if their worker had died: a call of theirs without an end is unknown."""
    ids = [finding.id for finding in found if isinstance(finding.id, uuid.UUID)]
    return rescue_where(database, and_(JOBS.c.id.in_(ids), ITS_WORKER_GAVE_IT_UP), bounds)


CHECK = AuditCheck(
    "running_jobs",
    "running jobs are carried by their living worker",
    find,
    repair,
    # A job that nobody carries takes room from those that wait.
    every_s=5.0,
)
