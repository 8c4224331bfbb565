"""The audit: what the producer enqueued, the database, the bucket and the sandbox's ledger, held together."""

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from jobs.models import ATTEMPTS, JOBS
from jobs.states import FINAL_STATES, AttemptOutcome, State
from jobs.storage import Bucket, StorageError
from worker.objects import ObjectLinks
from worker.per_thread import PerThread

READS_AT_ONCE = 8
MOST_BYTES = 10_000_000
# An answer follows its call's strike within.
ANSWERED_WITHIN_S = 5.0

Row = Any


@dataclass(frozen=True)
class Charge:
    """A line of the sandbox's ledger: when (Unix seconds), for which picture, under which request id."""

    at: float
    image_sha256: str
    request_id: str


@dataclass
class Findings:
    """What was found. The lists hold a line for each case; everything else is a count."""

    jobs: int = 0
    succeeded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    charged: int = 0
    charged_more_than_once: int = 0
    of_these_unknown: int = 0
    unknown: int = 0
    never_ended: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    untold: list[Charge] = field(default_factory=list)
    results_lost: int = 0
    latest_copy: float = 0.0


def audit(
    engine: Engine,
    bucket: Bucket,
    charges: Collection[Charge],
    *,
    batch_id: uuid.UUID,
    external_ids: Collection[str],
    lifetime_s: float,
) -> Findings:
    """Look at every job of the batch, which should have these external ids, and at every charge.

    `lifetime_s` is how long a result lives. Each object is read and held against its job's SHA-256.
    """
    with engine.connect() as connection:
        jobs = _rows(connection, JOBS, JOBS.c.batch_id == batch_id)
        attempts = _rows(connection, ATTEMPTS, ATTEMPTS.c.job_id.in_([job.id for job in jobs]))
    findings = Findings(jobs=len(external_ids))
    _count_jobs(findings, jobs)
    findings.lost = [
        *_missing_rows(jobs, external_ids),
        *_unfinished(jobs),
        *_missing_objects(bucket, [job for job in jobs if job.state == State.SUCCEEDED]),
    ]
    findings.unknown = sum(attempt.unknown_at is not None for attempt in attempts)
    findings.never_ended = [
        f"attempt {attempt.id} of job {attempt.job_id}" for attempt in attempts if attempt.ended_at is None
    ]
    findings.results_lost = sum(attempt.lost_at is not None for attempt in attempts)
    findings.latest_copy = _latest_copy(jobs, attempts, lifetime_s)
    _count_charges(findings, attempts, charges)
    return findings


def _rows(connection: Connection, table: Any, where: Any) -> list[Row]:
    return list(connection.execute(select(table).where(where)))


def _count_jobs(findings: Findings, jobs: Iterable[Row]) -> None:
    for job in jobs:
        match job.state:
            case State.SUCCEEDED:
                findings.succeeded += 1
            case State.FAILED:
                findings.failed[job.code] += 1
            case State.HELD:
                findings.held[job.code] += 1


def _missing_rows(jobs: Iterable[Row], external_ids: Iterable[str]) -> list[str]:
    found = {job.external_id for job in jobs}
    return [f"job {number} is not in the table" for number in external_ids if number not in found]


def _unfinished(jobs: Iterable[Row]) -> list[str]:
    return [
        f"job {job.external_id} ({job.id}) is still {job.state} {job.standing or ''} at its {job.step},"
        f" code {job.code}"
        for job in jobs
        if job.state not in FINAL_STATES | {State.HELD}
    ]


def _missing_objects(bucket: Bucket, succeeded: Sequence[Row]) -> list[str]:
    objects = PerThread(lambda: ObjectLinks(bucket))

    def look(job: Row) -> str | None:
        try:
            stored = objects.get().read(job.key, max_bytes=MOST_BYTES).data
        except StorageError as error:
            return f"job {job.external_id} ({job.id}) succeeded and its object cannot be read: {error}"
        if hashlib.sha256(stored).digest() != job.sha256:
            return f"job {job.external_id} ({job.id}) succeeded and {job.key} holds other bytes"
        return None

    with closing(objects), ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return [line for line in pool.map(look, succeeded) if line]


def _latest_copy(jobs: Iterable[Row], attempts: Iterable[Row], lifetime_s: float) -> float:
    """The longest time from a result's record to its job's end, as a share of the result's life."""
    paid_at: dict[uuid.UUID, list[datetime]] = defaultdict(list)
    for attempt in attempts:
        if attempt.outcome == AttemptOutcome.CHARGED:
            paid_at[attempt.job_id].append(attempt.ended_at)
    shares = [0.0]
    for job in jobs:
        before = [at for at in paid_at[job.id] if job.state == State.SUCCEEDED and at <= job.finished_at]
        if before:
            shares.append((job.finished_at - max(before)).total_seconds() / lifetime_s)
    return max(shares)


def _count_charges(findings: Findings, attempts: Sequence[Row], charges: Collection[Charge]) -> None:
    """Hold the sandbox's ledger against ours, charge by charge and job by job."""
    findings.charged = len(charges)
    told = {attempt.request_id for attempt in attempts if attempt.outcome == AttemptOutcome.CHARGED}
    findings.untold = [charge for charge in charges if charge.request_id not in told]
    job_of = {attempt.image_sha256.hex(): attempt.job_id for attempt in attempts}
    charged = Counter(job_of.get(charge.image_sha256) for charge in charges)
    untold = Counter(job_of.get(charge.image_sha256) for charge in findings.untold)
    # In doubt until now, which an untold charge may be; and ever in doubt, which a repeated call needs.
    unknown = _by_job(attempts, lambda attempt: attempt.outcome == AttemptOutcome.UNKNOWN)
    doubted = _by_job(attempts, lambda attempt: attempt.unknown_at is not None)
    for job_id, count in charged.items():
        if job_id is not None:
            findings.charged_more_than_once += count - 1
            findings.of_these_unknown += min(count - 1, doubted[job_id])
    findings.unaccounted = [
        *_beyond(untold, unknown),
        *_charged_by_us_alone(attempts, {charge.request_id for charge in charges}),
    ]


def _by_job(attempts: Iterable[Row], counts: Callable[[Row], bool]) -> Counter[uuid.UUID]:
    return Counter(attempt.job_id for attempt in attempts if counts(attempt))


def _beyond(untold: Mapping[uuid.UUID | None, int], unknown: Mapping[uuid.UUID, int]) -> list[str]:
    lines = []
    for job_id, count in untold.items():
        in_doubt = 0 if job_id is None else unknown.get(job_id, 0)
        whose = f"job {job_id}" if job_id else "a picture that no attempt sent"
        lines += [f"a charge for {whose} that the ledger knows nothing of"] * max(count - in_doubt, 0)
    return lines


def _charged_by_us_alone(attempts: Iterable[Row], request_ids: Collection[str]) -> list[str]:
    seen: set[str] = set()
    lines = []
    for attempt in attempts:
        if attempt.outcome != AttemptOutcome.CHARGED:
            continue
        if attempt.request_id not in request_ids or attempt.request_id in seen:
            lines.append(
                f"attempt {attempt.id} of job {attempt.job_id} is charged under {attempt.request_id},"
                " which the endpoint did not charge, or not twice"
            )
        seen.add(attempt.request_id)
    return lines
