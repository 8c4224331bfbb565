"""Runs of the auditor: all checks, their findings, and their repair."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cutout.audit import blocked_jobs, open_attempts, paid_results, running_jobs, waiting_jobs
from cutout.audit.audit_check import EVERYTHING, AuditCheck, Finding, Scope
from cutout.models.database import Database
from cutout.queue.settle import RetryLimits

# In the order of their runs. A new check is a file with `find`, with `repair` if it can repair, and its
# AuditCheck. The names are labels of `cutout_audit_repaired_total` and `cutout_audit_findings`.
CHECKS: tuple[AuditCheck, ...] = (
    running_jobs.CHECK,
    open_attempts.CHECK,
    paid_results.QUEUED,
    paid_results.HELD_WITH_A_RESULT,
    blocked_jobs.BLOCKED_JOBS,
    blocked_jobs.UNSPENT,
    waiting_jobs.CHECK,
)


@dataclass(frozen=True, slots=True)
class Audited:
    """Result of one check: the number of findings repaired, and the findings that remain."""

    check: AuditCheck
    repaired: int
    left: Sequence[Finding]


def findings(database: Database, scope: Scope = EVERYTHING) -> Iterator[tuple[AuditCheck, Finding]]:
    """Yield the findings of all checks, for everything or for one job, without changing anything."""
    for check in CHECKS:
        for finding in check.find(database, scope):
            yield check, finding


def findings_of(
    database: Database, job_id: uuid.UUID, batch_id: uuid.UUID | None
) -> list[tuple[AuditCheck, Finding]]:
    """Findings about one job and its batch, without those that only a second run confirms."""
    found = findings(database, Scope(job_id, batch_id))
    return [(check, finding) for check, finding in found if not check.confirmed_after_s]


def audit(
    database: Database,
    check: AuditCheck,
    limits: RetryLimits,
    seen_before: Collection[uuid.UUID | int] | None = None,
) -> Audited:
    """Run one check and repair its findings; those that no longer hold afterwards are not in the result.

    `seen_before` has the ids that an earlier run found, for a check that needs a second run.
    """
    found = check.find(database, EVERYTHING)
    if check.confirmed_after_s:
        found = [finding for finding in found if finding.id in (seen_before or ())]
    if not found or check.repair is None:
        return Audited(check, 0, found)
    repaired = check.repair(database, found, limits)
    still = {finding.id for finding in check.find(database, EVERYTHING)}
    return Audited(check, repaired, [finding for finding in found if finding.id in still])
