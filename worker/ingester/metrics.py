"""Metrics of an ingester for Prometheus. What a child process reads is counted by its requests alone."""

from prometheus_client import Counter, Gauge

READ, FETCHED, DELAYED, FAILED, STOPPED = RESULTS = ("read", "fetched", "delayed", "failed", "stopped")

ROWS = Counter("cutout_ingest_rows", "Rows of manifests, and files, that were read")
REQUESTS = Counter(
    "cutout_ingest_requests",
    "Requested ingests that left this process, by result; one that is delayed is tried again",
    ["result"],
)
UNDER_WAY = Gauge("cutout_ingest_requests_under_way", "Requested ingests that this process carries out")

for _result in RESULTS:
    # A counter that begins with its first event hides that event from rate().
    REQUESTS.labels(_result)
