"""Jobs that wait for the cutout of the same picture from a job that no longer buys it."""

import uuid
from collections.abc import Sequence
from typing import Any

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.models.database import Database
from cutout.queue.reuse.waiting_jobs import abandoned_by_buyers, promote_waiting_for
from cutout.queue.settle import RetryLimits

CONFIRMED_AFTER_S = 60.0


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Jobs whose buyer has ended, is held, or is waiting itself."""
    return [
        Finding(
            "job",
            row.id,
            f"it waits for {_buyer(row)} to buy the same cutout, which that job no longer does",
            "the leading dispatcher makes it ready again",
        )
        for row in abandoned_by_buyers(database, MOST_FOUND, scope.job_id)
    ]


def _buyer(row: Any) -> str:
    return f"job {row.waits_for}" if row.is_own else "the job of another producer"


def repair(database: Database, found: Sequence[Finding], _limits: RetryLimits) -> int:
    """Let the jobs continue, as a step of the dispatcher would; returns their number."""
    ids = {finding.id for finding in found}
    left = abandoned_by_buyers(database, MOST_FOUND)
    buyers: set[uuid.UUID] = {row.waits_for for row in left if row.id in ids}
    for buyer in buyers:
        promote_waiting_for(database, buyer)
    still = {row.id for row in abandoned_by_buyers(database, MOST_FOUND)}
    return len(ids - still)


CHECK = AuditCheck(
    "waiting_jobs",
    "jobs that wait for another job's cutout wait for one that is under way",
    find,
    repair,
    confirmed_after_s=CONFIRMED_AFTER_S,
)
