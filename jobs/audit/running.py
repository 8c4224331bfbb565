"""Running jobs, and what their living worker says it carries.

A claim notes the number of its worker's last heartbeat. The first beat after it may have been put together
before the claim; the second was not. Where that one, or a later one, leaves the job's fence out, the worker
has given the job up. No clock is asked.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, column, func, not_, select

from jobs.audit.check import MOST_FOUND, AuditCheck, Finding, Scope
from jobs.database import Database
from jobs.models import JOBS, WORKERS, constant
from jobs.states import State
from jobs.store import Bounds
from jobs.workers import rescue_where

BEATS_AFTER_THE_CLAIM = 2


def _is_given_up() -> ColumnElement[bool]:
    carried = (
        func.unnest(WORKERS.c.carried_jobs, WORKERS.c.carried_fences)
        .table_valued(column("job", JOBS.c.id.type), column("fence", JOBS.c.fence.type), name="carried")
        .render_derived()
    )
    is_carried = (
        select(carried.c.job)
        .where(carried.c.job == JOBS.c.id, carried.c.fence == JOBS.c.fence)
        .correlate(JOBS, WORKERS)
        .exists()
    )
    return and_(
        WORKERS.c.id == JOBS.c.worker_id,
        WORKERS.c.carried_jobs.is_not(None),
        WORKERS.c.beats >= func.coalesce(JOBS.c.claimed_at_beat, 0) + BEATS_AFTER_THE_CLAIM,
        not_(is_carried),
    )


GIVEN_UP = _is_given_up()
FIND = (
    select(JOBS.c.id, JOBS.c.step, WORKERS.c.host, WORKERS.c.pid)
    .where(JOBS.c.state == constant(State.RUNNING), GIVEN_UP)
    .limit(MOST_FOUND)
)
ITS_WORKER_GAVE_IT_UP = select(WORKERS.c.id).where(GIVEN_UP).correlate(JOBS).exists()


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
