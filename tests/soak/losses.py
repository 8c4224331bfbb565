"""Paid results that were lost, each by the sandbox's record of its call."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cutout.enums import State
from tests.soak.doubts import Call
from tests.soak.plan import Mischief

# What costs a paid result.
DEADLY = {Mischief.RESULT_GONE, Mischief.TRUNCATED_IMAGE}

Row = Any


@dataclass
class Losses:
    """Findings; the lists have purchases that no enqueued job explains."""

    recorded: int = 0
    by_cancelling: int = 0
    ordered: int = 0
    needless: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def find_losses(
    jobs: Iterable[Row],
    attempts: Iterable[Row],
    call_of: Mapping[int, Call],
    cancelled: Collection[uuid.UUID],
) -> Losses:
    """Hold each paid result against its call; `cancelled` are the jobs that an operator withdrew."""
    found = Losses()
    job_of = {job.id: job for job in jobs}
    for attempt in attempts:
        call, job = call_of.get(attempt.id), job_of[attempt.job_id]
        was_ordered = call is not None and call.fault in DEADLY
        found.ordered += was_ordered
        if attempt.lost_at is not None:
            found.recorded += 1
            if job.id in cancelled:
                found.by_cancelling += 1
            elif not was_ordered:
                found.needless.append(
                    f"attempt {attempt.id} of job {job.id} ({job.state} {job.code}), at {attempt.lost_at}"
                )
        elif was_ordered and job.result_attempt == attempt.id and job.state != State.CANCELLED:
            found.missed.append(
                f"attempt {attempt.id} of job {job.id}, which is {job.state} {job.code}, though"
                f" its result was spoilt ({call.fault if call else ''})"
            )
    return found
