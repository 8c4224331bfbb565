"""Jobs that wait for a person, and whether one must be asked."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from cutout.enums import State
from tests.soak.operator import Held

# So many doubts of a picture hold its jobs: one may be repeated (CUTOUT_RETRY_UNKNOWN).
DOUBTS = 2
DOUBTFUL = {"NO_ANSWER", "HTTP_504", "WORKER_GONE"}

Row = Any


def needlessly_held(
    jobs: Iterable[Row], attempts: Sequence[Row], batches: Iterable[Row], held: Held
) -> list[str]:
    """A line for each job that is held without what its code says."""
    doubts = Counter(attempt.source_sha256 for attempt in attempts if attempt.unknown_at is not None)
    losses = Counter(attempt.source_sha256 for attempt in attempts if attempt.lost_at is not None)
    sources: dict[object, set[bytes]] = {}
    for attempt in attempts:
        sources.setdefault(attempt.job_id, set()).add(attempt.source_sha256)
    spent = {batch.id for batch in batches if batch.budget is not None and batch.spent >= batch.budget}
    unapproved = {order.batch_id for order in held.ordered if order.awaits_approval}

    def is_explained(job: Row) -> bool:
        if job.code == "OVER_BUDGET":
            return job.batch_id in spent
        if job.code == "NEEDS_APPROVAL":
            return job.batch_id in unapproved
        its = sources.get(job.id, set())
        if job.code in DOUBTFUL:
            return any(doubts[source] >= DOUBTS for source in its) or _is_of_another(job)
        if job.code == "RESULT_EXPIRED":
            return any(losses[source] for source in its) or _is_of_another(job)
        return False

    return [
        f"job {job.external_id} ({job.id}) is held: {job.code}: {job.message}"
        for job in jobs
        if job.state == State.HELD and not is_explained(job)
    ]


def _is_of_another(job: Row) -> bool:
    """Whether another job of the same picture is, which is looked at itself."""
    return (job.message or "").startswith("the same picture is held")
