"""One look by the auditor: what each check finds, what is repaired of it, and what is left."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cutout.audit.audit_check import EVERYTHING, AuditCheck, Finding, Scope
from cutout.audit.checks import CHECKS
from cutout.models.database import Database
from cutout.queue.settle import Bounds


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
    """The same of one job and its batch, without what only a second look confirms."""
    found = findings(database, Scope(job_id, batch_id))
    return [(check, finding) for check, finding in found if not check.confirmed_after_s]


def audit(
    database: Database,
    check: AuditCheck,
    bounds: Bounds,
    seen_before: Collection[uuid.UUID | int] | None = None,
) -> Audited:
    """Look, and repair what can be. Neither what was repaired is left, nor what somebody else moved.

    `seen_before` names what an earlier look found, for a check that needs a second one.
    """
    found = check.find(database, EVERYTHING)
    if check.confirmed_after_s:
        found = [finding for finding in found if finding.id in (seen_before or ())]
    if not found or check.repair is None:
        return Audited(check, 0, found)
    repaired = check.repair(database, found, bounds)
    still = {finding.id for finding in check.find(database, EVERYTHING)}
    return Audited(check, repaired, [finding for finding in found if finding.id in still])
