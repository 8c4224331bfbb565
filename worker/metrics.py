"""Prometheus metrics of a worker."""

import re
import uuid

from prometheus_client import Counter, Gauge, Histogram

from cutout.endpoint.verdicts import VERDICTS
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Outcome, Succeeded

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 2, 3, 5, 10, 30, 60, 120)

CALLS = Counter(
    "cutout_calls", "Calls that ended, by verdict, charge and code", ["verdict", "outcome", "code"]
)
SETTLED = Counter(
    "cutout_jobs_settled", "Jobs that this worker settled, by outcome and code", ["verdict", "code"]
)
STAGE_SECONDS = Histogram(
    "cutout_stage_duration_seconds", "Seconds that jobs spent in a stage", ["stage"], buckets=SECONDS
)
PRODUCER_CALLS = Counter(
    "cutout_producer_calls",
    "Calls that ended, by their job's producer and charge; OTHER past 100 producers of a process",
    ["producer", "outcome"],
)
COPIED_BYTES = Counter("cutout_copied_bytes", "Bytes of cutouts stored in the bucket")
IN_HAND = Gauge("cutout_jobs_in_hand", "Jobs in flight in this worker")
CUT_OFF = Gauge("cutout_worker_cut_off", "1 while this worker cannot reach the bucket and makes no calls")
SPOOL_FILES = Gauge("cutout_spool_files", "Answers of the endpoint on disk that Postgres has not taken")
SPOOL_BYTES = Gauge("cutout_spool_bytes", "Bytes of these files")
SPOOL_OLDEST = Gauge(
    "cutout_spool_oldest_timestamp_seconds", "When the oldest of these files was written, 0 without any"
)
THREADS = Gauge("cutout_worker_threads", "Jobs that this worker can process at once")

# Our own codes are few; the endpoint's are counted by name if it documents them.
OUR_CODES = re.compile(r"[A-Z]+(_[A-Z]+)+")
MOST_CODES = 300
_codes: set[str] = set(VERDICTS)
MOST_PRODUCERS = 100
_producers: set[uuid.UUID] = set()


def code_label(code: str | None) -> str:
    """A code as a label; `OTHER` for an unknown one, so that a server cannot make too many labels."""
    if code is None:
        return ""
    if code in _codes:
        return code
    if OUR_CODES.fullmatch(code) and len(_codes) < MOST_CODES:
        _codes.add(code)
        return code
    return "OTHER"


def call_ended(verdict: str, answer: Answer, producer_id: uuid.UUID | None) -> None:
    """Count the end of a call."""
    CALLS.labels(verdict, answer.outcome, code_label(answer.code)).inc()
    PRODUCER_CALLS.labels(_producer_label(producer_id), answer.outcome).inc()


def _producer_label(producer_id: uuid.UUID | None) -> str:
    if producer_id is None:
        return ""
    if producer_id not in _producers:
        if len(_producers) >= MOST_PRODUCERS:
            return "OTHER"
        _producers.add(producer_id)
    return str(producer_id)


def served(jobs: int) -> None:
    """Count jobs that ended with a cutout bought before."""
    SETTLED.labels("reused", "").inc(jobs)


def settled(outcome: Outcome) -> None:
    """Count the outcome of a job."""
    if isinstance(outcome, Succeeded):
        if outcome.reused:
            served(1)
        else:
            SETTLED.labels("succeeded", "").inc()
            COPIED_BYTES.inc(outcome.stored.size_bytes)
    else:
        SETTLED.labels(type(outcome).__name__.lower(), code_label(outcome.code)).inc()
