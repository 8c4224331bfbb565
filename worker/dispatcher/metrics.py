"""Metrics of a dispatcher for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)

IS_LEADER = Gauge("cutout_dispatcher_is_leader", "Whether this dispatcher leads")
TICK = Histogram(
    "cutout_dispatcher_tick_duration_seconds", "Duration of a tick of the dispatcher", buckets=SECONDS
)
DISPATCHED = Counter("cutout_dispatched_jobs", "Jobs that were dispatched", ["task_kind"])
TARGET_OUTSTANDING = Gauge("cutout_target_outstanding_jobs", "Target number of jobs outstanding for calls")
RESCUED = Counter("cutout_rescued_jobs", "Jobs taken from dead workers")
AUDIT_REPAIRED = Counter(
    "cutout_audit_repaired", "Rows that did not agree and were repaired by the auditor", ["check"]
)
AUDIT_FINDINGS = Gauge(
    "cutout_audit_findings", "Rows that do not agree and that only a person can repair", ["check"]
)
