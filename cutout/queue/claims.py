"""Claiming a job, and the fence that goes with a claim."""

import math
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Double,
    and_,
    bindparam,
    cast,
    extract,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from cutout.enums import QueueState, ReturnForm, State, Step
from cutout.models import ATTEMPTS, BATCHES, JOBS, WORKERS, constant
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.storage.unexpected_bytes import Unexpected

# The code of an attempt whose request did not go out whole.
NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class PaidResult:
    """The result of a paid call: its URL, which is a secret and expires, and the size of the picture sent.

    The size is in pixels. `expires_at` is set by Postgres when the call's end is written; `dies_at` is the
    same moment by this process's `time.monotonic()`, since this machine's clock may be wrong. `lifeboat_key`
    names the bytes in the lifeboat, once they are saved there.
    """

    url: str = field(repr=False)
    sent_width: int
    sent_height: int
    expires_at: datetime | None = None
    lifeboat_key: str | None = None
    dies_at: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the URL dies; minus infinity if that is not known."""
        return -math.inf if self.dies_at is None else self.dies_at - time.monotonic()


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of a claim, repeated by every write: the job, its fencing number and the worker that claimed it."""

    job_id: uuid.UUID
    fence: int
    worker_id: uuid.UUID

    def as_parameters(self) -> dict[str, Any]:
        """Parameters of FENCED."""
        return {"claimed_job": self.job_id, "claimed_fence": self.fence, "claimed_by": self.worker_id}


@dataclass(frozen=True, slots=True)
class Claim(Fence):
    """A claimed job, as a worker needs it.

    `attempts` counts the ledger's rows of this job, `calls` those of them that went out. `has_budget` says
    that each call takes a credit from its batch's budget first, `reuses` that a cutout bought before will do.
    `trace` is the traceparent of the request that enqueued it. `gone_tries` counts how often the result's own
    server said that it is gone, `unexpected` names bytes that were paid for and are not what was bought.
    `deaths` counts the workers that died with it at its present step, with no call of it out.
    """

    batch_id: uuid.UUID | None
    external_id: str | None
    source: str
    return_form: ReturnForm
    step: Step
    tries: int
    attempts: int
    calls: int
    result: PaidResult | None
    has_budget: bool = False
    reuses: bool = True
    trace: str | None = None
    gone_tries: int = 0
    unexpected: Unexpected | None = None
    deaths: int = 0
    producer_id: uuid.UUID | None = None

    def with_result(self, result: PaidResult | None) -> "Claim":
        """The claim at its copy, with this result; unchanged without one."""
        return self if result is None else replace(self, step=Step.COPY, tries=0, result=result)


RUNNING = constant(State.RUNNING)

FENCED: ColumnElement[bool] = and_(
    JOBS.c.id == bindparam("claimed_job"),
    JOBS.c.fence == bindparam("claimed_fence"),
    # By a constraint only a running job has one. Its state is not asked for: both together would let the
    # index of running jobs be chosen, which has all that this worker did since the oldest snapshot.
    JOBS.c.worker_id == bindparam("claimed_by"),
)

ITS_ATTEMPTS = select(func.count()).where(ATTEMPTS.c.job_id == JOBS.c.id)

# The first answer may have been lost with the connection. Not so once a call was begun: its thread gave the
# job up with that call's end unknown, which is for the rescue to judge, and not for another call.
IS_ITS_OWN = and_(
    JOBS.c.worker_id == bindparam("claimed_by"),
    ~select(ATTEMPTS.c.id)
    .where(
        ATTEMPTS.c.job_id == JOBS.c.id,
        ATTEMPTS.c.fence == JOBS.c.fence,
        ATTEMPTS.c.ended_at.is_(None),
    )
    .exists(),
)

CLAIM = Compiled(
    update(JOBS)
    .where(
        JOBS.c.id == bindparam("claimed_job"),
        JOBS.c.fence == bindparam("claimed_fence"),
        or_(JOBS.c.queue_state == constant(QueueState.DISPATCHED), IS_ITS_OWN),
    )
    .values(
        state=RUNNING,
        queue_state=null(),
        worker_id=bindparam("claimed_by"),
        claimed_at_beat=select(WORKERS.c.beats)
        .where(WORKERS.c.id == bindparam("claimed_by"))
        .scalar_subquery(),
    )
    .returning(
        JOBS.c.producer_id,
        JOBS.c.batch_id,
        JOBS.c.external_id,
        JOBS.c.source,
        JOBS.c.return_form,
        JOBS.c.step,
        JOBS.c.tries,
        JOBS.c.result_url,
        JOBS.c.result_expires_at,
        cast(extract("epoch", JOBS.c.result_expires_at - func.clock_timestamp()), Double).label("left_s"),
        JOBS.c.sent_width,
        JOBS.c.sent_height,
        JOBS.c.lifeboat_key,
        JOBS.c.trace,
        JOBS.c.gone_tries,
        JOBS.c.unexpected,
        JOBS.c.deaths,
        select(BATCHES.c.id)
        .where(BATCHES.c.id == JOBS.c.batch_id, BATCHES.c.budget.is_not(None))
        .exists()
        .label("has_budget"),
        ~select(BATCHES.c.id)
        .where(BATCHES.c.id == JOBS.c.batch_id, ~BATCHES.c.reuse)
        .exists()
        .label("reuses"),
        ITS_ATTEMPTS.scalar_subquery().label("attempts"),
        ITS_ATTEMPTS.where(ATTEMPTS.c.code.is_distinct_from(NOT_SENT)).scalar_subquery().label("calls"),
    )
)

HAND_BACK = (
    update(JOBS)
    .where(
        JOBS.c.id == bindparam("claimed_job"),
        JOBS.c.fence == bindparam("claimed_fence"),
        JOBS.c.queue_state == constant(QueueState.DISPATCHED),
    )
    .values(queue_state=constant(QueueState.READY))
    .returning(JOBS.c.id)
)


def claim(database: Database, job_id: uuid.UUID, fence: int, worker_id: uuid.UUID) -> Claim | None:
    """Take a job that was handed out under `fence`. None for a message late, or repeated to another worker.

    The same worker gets the same claim again until it begins a call: it must not ask twice at once. With the
    end of its call open the job is the rescue's.
    """
    row = CLAIM.first(database, {"claimed_job": job_id, "claimed_fence": fence, "claimed_by": worker_id})
    if row is None:
        return None
    result = PaidResult(
        row.result_url,
        row.sent_width,
        row.sent_height,
        row.result_expires_at,
        row.lifeboat_key,
        dies_at=time.monotonic() + (row.left_s or 0.0),
    )
    return Claim(
        job_id=job_id,
        fence=fence,
        worker_id=worker_id,
        batch_id=row.batch_id,
        producer_id=row.producer_id,
        external_id=row.external_id,
        source=row.source,
        return_form=ReturnForm(row.return_form),
        step=Step(row.step),
        tries=row.tries,
        attempts=row.attempts,
        calls=row.calls,
        result=result if row.result_url else None,
        has_budget=row.has_budget,
        reuses=row.reuses,
        trace=row.trace,
        gone_tries=row.gone_tries,
        unexpected=Unexpected.of(row.unexpected),
        deaths=row.deaths,
    )


def hand_back(database: Database, job_id: uuid.UUID, fence: int) -> bool:
    """Put a job that was handed out and not claimed back in line; False if there is none such."""
    handed = {"claimed_job": job_id, "claimed_fence": fence}
    return database.scalar(HAND_BACK, handed) is not None


def seconds_left(database: Database, result: PaidResult) -> float:
    """Seconds until the result's URL expires, by Postgres' clock, which set the time; negative once it has.

    A worker's own clock may be wrong, and a loss declared too early is a credit thrown away.
    """
    expires_at = literal(result.expires_at, DateTime(timezone=True))
    left = cast(extract("epoch", expires_at - func.clock_timestamp()), Double)
    seconds: float | None = database.scalars(select(left)).one()
    return -math.inf if seconds is None else seconds
