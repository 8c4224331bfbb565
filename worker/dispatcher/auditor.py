"""Duty: audit the tables, repair rows that do not agree, and report the others."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from cutout.audit import CHECKS, EVERYTHING, AuditCheck, audit
from cutout.queue.settle import RetryLimits
from cutout.queue.snapshot import QueueSnapshot
from worker.dispatcher import metrics

log = logging.getLogger(__name__)

# Named in the log; `cutout audit` names them all.
MOST_NAMED = 5


class Auditor:
    """Runs each check at its own interval, at most one in a tick."""

    def __init__(
        self,
        bounds: RetryLimits,
        checks: Sequence[AuditCheck] = CHECKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._findings: dict[str, set[uuid.UUID | int]] = {}
        self._due = {check.name: (check, clock() + check.every_s) for check in checks}

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Run the check that has been due for longest, if any is."""
        check, due_at = min(self._due.values(), key=lambda entry: entry[1])
        now = self._clock()
        if now < due_at:
            return
        self._due[check.name] = check, now + check.every_s
        result = audit(connection, check, self._bounds, self._findings.get(check.name))
        if check.confirmed_after_s:
            self._findings[check.name] = {finding.id for finding in check.find(connection, EVERYTHING)}
        metrics.AUDIT_REPAIRED.labels(check.name).inc(result.repaired)
        metrics.AUDIT_FINDINGS.labels(check.name).set(len(result.left))
        if result.repaired:
            log.warning("the auditor repaired %d: %s did not hold", result.repaired, check.description)
        for finding in result.left[:MOST_NAMED]:
            log.error("the auditor found: %s %s: %s", finding.subject, finding.id, finding.text)

    def reset(self) -> None:
        """Forget the findings and clear their metric: another dispatcher leads."""
        self._findings.clear()
        metrics.AUDIT_FINDINGS.clear()
