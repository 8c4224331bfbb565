"""Running jobs that their live worker does not list among its jobs in flight.

A claim records the number of its worker's last heartbeat. The first heartbeat after it may have been composed
before the claim, the second not. If that one or a later one does not list the job's fence, the worker no
longer runs the job. No clock is compared.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, TableValuedAlias, and_, column, func, not_, select, true

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import State
from cutout.models import JOBS, WORKERS, constant
from cutout.models.database import Database
from cutout.queue.settle import RetryLimits
from cutout.queue.workers import rescue_where

BEATS_AFTER_THE_CLAIM = 2


IS_RUNNING = JOBS.c.state == constant(State.RUNNING)
HAS_LISTED_SINCE = and_(
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
    """Compare the running jobs with all jobs in flight, which are collected once."""
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
        .where(IS_RUNNING, HAS_LISTED_SINCE, not_(is_carried.correlate(JOBS).exists()))
        .limit(MOST_FOUND)
    )


def _worker_dropped_it() -> ColumnElement[bool]:
    """Whether the worker of the job in an outer statement no longer lists it."""
    carried = _carried()
    is_carried = select(carried.c.job).where(carried.c.job == JOBS.c.id, carried.c.fence == JOBS.c.fence)
    return (
        select(WORKERS.c.id)
        .where(HAS_LISTED_SINCE, not_(is_carried.correlate(JOBS, WORKERS).exists()))
        .correlate(JOBS)
        .exists()
    )


FIND = _find()
WORKER_DROPPED_IT = _worker_dropped_it()


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Running jobs that their worker does not list."""
    query = FIND if scope.job_id is None else FIND.where(JOBS.c.id == scope.job_id)
    return [
        Finding(
            "job",
            row.id,
            f"it is running (step {row.step}), but worker {row.pid} on {row.host} does not run it any more",
            "the leading dispatcher rescues it from that worker",
        )
        for row in database.execute(query)
    ]


def repair(database: Database, found: Sequence[Finding], limits: RetryLimits) -> int:
    """Rescue the jobs as if their worker had died: a call without an end becomes unknown."""
    ids = [finding.id for finding in found if isinstance(finding.id, uuid.UUID)]
    return rescue_where(database, and_(JOBS.c.id.in_(ids), WORKER_DROPPED_IT), limits)


CHECK = AuditCheck(
    "running_jobs",
    "running jobs are in flight in their live worker",
    find,
    repair,
    # A job that no worker runs takes the room of one that waits.
    every_s=5.0,
)
