"""Jobs that wait for another one to buy the cutout of their picture, and what that one does."""

import uuid
from collections.abc import Sequence
from typing import Any

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.models.database import Database
from cutout.queue.reuse.waiting_jobs import abandoned_by_buyers, promote_waiting_for
from cutout.queue.settle import RetryLimits

CONFIRMED_AFTER_S = 60.0


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Jobs whose buyer has ended, is held, or waits itself."""
    return [
        Finding(
            "job",
            row.id,
            f"it waits for {_named(row)} to buy the same cutout, and that one does not buy it any more",
            "the dispatcher that leads puts it back in line",
        )
        for row in abandoned_by_buyers(database, MOST_FOUND, scope.job_id)
    ]


def _named(row: Any) -> str:
    return f"job {row.waits_for}" if row.is_own else "the job of another producer"


def repair(database: Database, found: Sequence[Finding], _bounds: RetryLimits) -> int:
    """Let them go on, as a step of the dispatcher would; returns how many of them."""
    ids = {finding.id for finding in found}
    left = abandoned_by_buyers(database, MOST_FOUND)
    buyers: set[uuid.UUID] = {row.waits_for for row in left if row.id in ids}
    for buyer in buyers:
        promote_waiting_for(database, buyer)
    still = {row.id for row in abandoned_by_buyers(database, MOST_FOUND)}
    return len(ids - still)


CHECK = AuditCheck(
    "twins",
    "jobs that wait for another's cutout wait for one that is under way",
    find,
    repair,
    confirmed_after_s=CONFIRMED_AFTER_S,
)
