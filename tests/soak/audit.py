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

from cutout.enums import FINAL_STATES, AttemptOutcome, State
from cutout.models import ATTEMPTS, BATCHES, JOBS, WORKERS
from cutout.storage import Bucket, StorageError
from tests.soak.doubts import Call, Doubts, find_doubts, match_calls
from tests.soak.held_jobs import needlessly_held
from tests.soak.losses import Losses, find_losses
from tests.soak.operator import Held
from tests.soak.pictures import is_poison
from tests.soak.purchases import bought_too_soon
from tests.soak.struck import Struck
from worker.per_thread import PerThread
from worker.signed_objects import SignedObjectClient

READS_AT_ONCE = 8
MOST_BYTES = 10_000_000

Row = Any


@dataclass(frozen=True)
class Charge:
    """A line of the sandbox's ledger: when (Unix seconds), for which picture, under which request id."""

    at: float
    image_sha256: str
    request_id: str


@dataclass
class Findings:
    """Findings. The lists hold a line for each case; everything else is a count."""

    jobs: int = 0
    succeeded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    lost: list[str] = field(default_factory=list)
    charged: int = 0
    charged_more_than_once: int = 0
    of_these_recorded: int = 0
    bought_too_soon: list[str] = field(default_factory=list)
    doubts: Doubts = field(default_factory=Doubts)
    unwritten_calls: list[str] = field(default_factory=list)
    never_ended: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    needlessly_held: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    over_budget: list[str] = field(default_factory=list)
    wrong_credits: list[str] = field(default_factory=list)
    began_outside: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    latest_copy: float = 0.0


def audit(
    engine: Engine,
    bucket: Bucket,
    charges: Collection[Charge],
    *,
    calls: Collection[Call],
    struck: Sequence[Struck],
    batch_id: uuid.UUID,
    external_ids: Collection[str],
    lifetime_s: float,
    held: Held | None = None,
) -> Findings:
    """Look at every job, every call and every charge; the batch should have these external ids.

    `calls` are the sandbox's own, `struck` what was struck. `lifetime_s` is how long a result lives, `held`
    what an operator ordered and held back. Each object is read and held against its job's SHA-256.
    """
    held = held or Held()
    with engine.connect() as connection:
        jobs = _rows(connection, JOBS)
        attempts = _rows(connection, ATTEMPTS)
        workers = _rows(connection, WORKERS)
        batches = _rows(connection, BATCHES)
    findings = Findings(jobs=len(jobs))
    _count_jobs(findings, jobs)
    findings.lost = [
        *_missing_rows([job for job in jobs if job.batch_id == batch_id], external_ids),
        *_missing_orders(jobs, held),
        *_unfinished(jobs),
        *_missing_objects(bucket, [job for job in jobs if job.state == State.SUCCEEDED]),
    ]
    call_of, strangers = match_calls(attempts, calls)
    findings.doubts = find_doubts(attempts, workers, call_of, struck)
    findings.unwritten_calls = [f"{call}" for call in strangers]
    findings.never_ended = [
        f"attempt {attempt.id} of job {attempt.job_id}" for attempt in attempts if attempt.ended_at is None
    ]
    findings.bought_too_soon = bought_too_soon(attempts)
    findings.losses = find_losses(jobs, attempts, call_of, _withdrawn(jobs, held))
    findings.needlessly_held = needlessly_held(jobs, attempts, batches, held)
    findings.over_budget = _over_budget(jobs, attempts, held)
    findings.wrong_credits = _wrong_credits(jobs, attempts, batches)
    findings.began_outside = _began_while_quiet(jobs, attempts, held)
    findings.astray = _astray(jobs, held)
    findings.latest_copy = _latest_copy(jobs, attempts, lifetime_s)
    _count_charges(findings, attempts, charges)
    return findings


def _rows(connection: Connection, table: Any) -> list[Row]:
    return list(connection.execute(select(table)))


def _count_jobs(findings: Findings, jobs: Iterable[Row]) -> None:
    for job in jobs:
        match job.state:
            case State.SUCCEEDED:
                findings.succeeded += 1
            case State.FAILED:
                findings.failed[job.code] += 1
            case State.HELD:
                findings.held[job.code] += 1
            case State.CANCELLED:
                findings.cancelled += 1


def _missing_rows(jobs: Iterable[Row], external_ids: Iterable[str]) -> list[str]:
    found = {job.external_id for job in jobs}
    return [f"job {number} is not in the table" for number in external_ids if number not in found]


def _missing_orders(jobs: Iterable[Row], held: Held) -> list[str]:
    found = Counter(job.batch_id for job in jobs)
    return [
        f"batch {order.batch_id} has {found[order.batch_id]} jobs, and {order.jobs} were enqueued"
        for order in held.ordered
        if found[order.batch_id] != order.jobs
    ]


def _withdrawn(jobs: Iterable[Row], held: Held) -> set[uuid.UUID]:
    """Jobs that somebody cancelled, or whose batch."""
    return {job.id for job in jobs if held.cancelled & {job.id, job.batch_id}}


def _over_budget(jobs: Iterable[Row], attempts: Iterable[Row], held: Held) -> list[str]:
    batch_of = {job.id: job.batch_id for job in jobs}
    spent = Counter(
        batch_of[attempt.job_id] for attempt in attempts if attempt.outcome != AttemptOutcome.NOT_CHARGED
    )
    return [
        f"batch {order.batch_id} spent {spent[order.batch_id]} of {order.budget} credits"
        for order in held.ordered
        if order.budget is not None and spent[order.batch_id] > order.budget
    ] + [
        f"batch {order.batch_id} was not approved and spent {spent[order.batch_id]}"
        for order in held.ordered
        if order.awaits_approval and spent[order.batch_id]
    ]


def _wrong_credits(jobs: Iterable[Row], attempts: Iterable[Row], batches: Iterable[Row]) -> list[str]:
    """Ended batches with other credits written down than their jobs were charged."""
    batch_of = {job.id: job.batch_id for job in jobs}
    charged = Counter(
        batch_of[attempt.job_id] for attempt in attempts if attempt.outcome == AttemptOutcome.CHARGED
    )
    return [
        f"batch {batch.id} has {batch.credits} credits written down, and was charged {charged[batch.id]}"
        for batch in batches
        if batch.results_key is not None and batch.credits not in (None, charged[batch.id])
    ]


def _began_while_quiet(jobs: Iterable[Row], attempts: Sequence[Row], held: Held) -> list[str]:
    batch_of = {job.id: job.batch_id for job in jobs}
    return [
        f"attempt {attempt.id} of job {attempt.job_id} began at {attempt.begun_at}, within {quiet}"
        for quiet in held.quiet
        for attempt in attempts
        if quiet.begins_at < attempt.begun_at < quiet.ends_at
        and quiet.batch_id in (None, batch_of[attempt.job_id])
    ]


def _astray(jobs: Iterable[Row], held: Held) -> list[str]:
    """Jobs in an end that nobody ordered: cancelled by themselves, or failed over a good picture."""
    return [
        f"job {job.external_id} ({job.id}) was cancelled by nobody"
        for job in jobs
        if job.state == State.CANCELLED and not held.cancelled & {job.id, job.batch_id}
    ] + [
        f"job {job.external_id} ({job.id}) failed: {job.code}: {job.message}"
        for job in jobs
        if job.state == State.FAILED and not is_poison(int(job.external_id))
    ]


def _unfinished(jobs: Iterable[Row]) -> list[str]:
    return [
        f"job {job.external_id} ({job.id}) is still {job.state} {job.queue_state or ''} at its {job.step},"
        f" code {job.code}"
        for job in jobs
        if job.state not in FINAL_STATES | {State.HELD}
    ]


def _missing_objects(bucket: Bucket, succeeded: Sequence[Row]) -> list[str]:
    objects = PerThread(lambda: SignedObjectClient(bucket))

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
    """Hold the sandbox's ledger against ours, charge by charge and picture by picture."""
    findings.charged = len(charges)
    told = {attempt.request_id for attempt in attempts if attempt.outcome == AttemptOutcome.CHARGED}
    sent = _by_picture(attempts, lambda _attempt: True)
    charged = Counter(charge.image_sha256 for charge in charges)
    untold = Counter(charge.image_sha256 for charge in charges if charge.request_id not in told)
    # In doubt until now, which an untold charge may be; ever in doubt or lost, which a repeated call needs.
    unknown = _by_picture(attempts, lambda attempt: attempt.outcome == AttemptOutcome.UNKNOWN)
    recorded = _by_picture(attempts, lambda attempt: bool(attempt.unknown_at or attempt.lost_at))
    for picture, count in charged.items():
        if sent[picture]:
            findings.charged_more_than_once += count - 1
            findings.of_these_recorded += min(count - 1, recorded[picture])
    findings.unaccounted = [
        *_beyond(untold, unknown, sent),
        *_charged_by_us_alone(attempts, {charge.request_id for charge in charges}),
    ]


def _by_picture(attempts: Iterable[Row], counts: Callable[[Row], bool]) -> Counter[str]:
    return Counter(attempt.image_sha256.hex() for attempt in attempts if counts(attempt))


def _beyond(untold: Mapping[str, int], unknown: Mapping[str, int], sent: Mapping[str, int]) -> list[str]:
    lines = []
    for picture, count in untold.items():
        in_doubt = unknown.get(picture, 0)
        whose = f"the picture {picture}" if picture in sent else "a picture that no attempt sent"
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
