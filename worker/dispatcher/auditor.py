"""The auditor's duty in the dispatcher's tick: whoever leads compares what must agree, and repairs it."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from cutout.audit import CHECKS, EVERYTHING, AuditCheck, audit
from cutout.queue.dispatch import Survey
from cutout.queue.settle import Bounds
from worker.dispatcher import metrics

log = logging.getLogger(__name__)

# Named in the log; `cutout audit` names them all.
MOST_NAMED = 5


class Auditor:
    """Makes each check as often as it asks for, at most one in a tick."""

    def __init__(
        self,
        bounds: Bounds,
        checks: Sequence[AuditCheck] = CHECKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._seen: dict[str, set[uuid.UUID | int]] = {}
        self._due = {check.name: (check, clock() + check.every_s) for check in checks}

    def look(self, connection: Connection, _found: Survey) -> None:
        """Make the check that is due for longest, if any is."""
        check, due_at = min(self._due.values(), key=lambda one: one[1])
        now = self._clock()
        if now < due_at:
            return
        self._due[check.name] = check, now + check.every_s
        done = audit(connection, check, self._bounds, self._seen.get(check.name))
        if check.confirmed_after_s:
            self._seen[check.name] = {finding.id for finding in check.find(connection, EVERYTHING)}
        metrics.AUDIT_REPAIRED.labels(check.name).inc(done.repaired)
        metrics.AUDIT_FINDINGS.labels(check.name).set(len(done.left))
        if done.repaired:
            log.warning("the auditor repaired %d: %s did not hold", done.repaired, check.description)
        for finding in done.left[:MOST_NAMED]:
            log.error("the auditor found: %s %s: %s", finding.subject, finding.id, finding.text)

    def rest(self) -> None:
        """Say no more what was found: another leads."""
        self._seen.clear()
        metrics.AUDIT_FINDINGS.clear()
