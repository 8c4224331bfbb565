"""What a dispatcher knows of itself, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)

LEADS = Gauge("cutout_dispatcher_leads", "Whether this dispatcher leads")
TICK = Histogram("cutout_tick_seconds", "How long a tick of the dispatcher took", buckets=SECONDS)
HANDED_OUT = Counter("cutout_handed_out_jobs", "Jobs that were handed out", ["errand"])
WINDOW = Gauge("cutout_window_jobs", "Jobs that may be outstanding for calls")
RESCUED = Counter("cutout_rescued_jobs", "Jobs taken from workers that were gone")
AUDIT_REPAIRED = Counter(
    "cutout_audit_repaired", "Rows that did not agree and that the auditor repaired", ["check"]
)
AUDIT_FINDINGS = Gauge(
    "cutout_audit_findings", "Rows that do not agree and that only a person can repair", ["check"]
)
