"""All checks of the auditor, in the order in which they are made and repaired.

A new one: a file with `find`, `repair` if it can be, and its AuditCheck; then its name here. Its name is a
label of `cutout_audit_repaired_total` and `cutout_audit_findings`.
"""

from cutout.audit import blocked_jobs, open_attempts, paid_results, running_jobs, waiting_jobs
from cutout.audit.audit_check import AuditCheck

CHECKS: tuple[AuditCheck, ...] = (
    running_jobs.CHECK,
    open_attempts.CHECK,
    paid_results.QUEUED,
    paid_results.HELD_WITH_A_RESULT,
    blocked_jobs.BLOCKED_JOBS,
    blocked_jobs.UNSPENT,
    waiting_jobs.CHECK,
)
