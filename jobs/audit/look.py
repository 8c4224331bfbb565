"""One look by the auditor: what each check finds, what is repaired of it, and what is left."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.audit.check import EVERYTHING, AuditCheck, Finding, Scope
from jobs.audit.checks import CHECKS
from jobs.database import Database
from jobs.store import Bounds


@dataclass(frozen=True, slots=True)
class Audited:
    """How many findings of a check were repaired, and those that were not."""

    check: AuditCheck
    repaired: int
    left: Sequence[Finding]


def findings(database: Database, scope: Scope = EVERYTHING) -> Iterator[tuple[AuditCheck, Finding]]:
    """What does not agree now, of everything or of one job; nothing is changed."""
    for check in CHECKS:
        for finding in check.find(database, scope):
            yield check, finding


def findings_of(
    database: Database, job_id: uuid.UUID, batch_id: uuid.UUID | None
) -> list[tuple[AuditCheck, Finding]]:
    """The same of one job and its batch."""
    return list(findings(database, Scope(job_id, batch_id)))


def audit(database: Database, check: AuditCheck, bounds: Bounds) -> Audited:
    """Look, and repair what can be. Neither what was repaired is left, nor what somebody else moved."""
    found = check.find(database, EVERYTHING)
    if not found or check.repair is None:
        return Audited(check, 0, found)
    repaired = check.repair(database, found, bounds)
    still = {finding.id for finding in check.find(database, EVERYTHING)}
    return Audited(check, repaired, [finding for finding in found if finding.id in still])
