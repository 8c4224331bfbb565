"""Claims: a worker takes a dispatched job under its fence."""

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

from cutout.enums import Priority, ReturnForm, Step
from cutout.models import ATTEMPTS, JOBS, WORKERS
from cutout.models.columns import DISPATCHED, READY, RUNNING
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.queue.blocks.conditions import BATCH_FORBIDS_REUSE, BATCH_HAS_A_BUDGET
from cutout.storage.unexpected_bytes import Unexpected

# Code of an attempt whose request was not sent completely.
NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class PaidResult:
    """Result of a paid call: a secret URL that expires, and the size of the picture sent, in pixels.

    `lifeboat_key` names the bytes in the lifeboat, once they are saved there. `dies_at` is the expiry by
    `time.monotonic()`, computed from Postgres' clock: this machine's clock may be wrong.
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
    """Proof of a claim, part of every later write: the job, its fencing number and its worker."""

    job_id: uuid.UUID
    fence: int
    worker_id: uuid.UUID

    def as_parameters(self) -> dict[str, Any]:
        """Parameters of FENCED."""
        return {"claimed_job": self.job_id, "claimed_fence": self.fence, "claimed_by": self.worker_id}


@dataclass(frozen=True, slots=True)
class Claim(Fence):
    """A job that a worker holds.

    `attempts` counts the ledger's rows of this job, `calls` those whose request was sent. `has_budget`: each
    call takes a credit from the batch's budget first. `reuses`: a cutout bought before may be used. `trace`
    is the traceparent of the request that enqueued the job. `gone_tries` counts responses of the result's
    own server that the result is gone. `unexpected` names paid bytes that are not a valid cutout. `deaths`
    counts workers that died with the job at its present step while no call of it was open.
    """

    batch_id: uuid.UUID | None
    external_id: str | None
    source: str
    return_form: ReturnForm
    bought_form: ReturnForm
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
    priority: Priority = Priority.NORMAL

    @property
    def is_awaited(self) -> bool:
        """Whether somebody may wait for this very job: it is interactive, or alone."""
        return self.priority == Priority.INTERACTIVE or self.batch_id is None

    def with_result(self, result: PaidResult | None) -> "Claim":
        """The claim at its copy, with this result; unchanged without one."""
        return self if result is None else replace(self, step=Step.COPY, tries=0, result=result)


FENCED: ColumnElement[bool] = and_(
    JOBS.c.id == bindparam("claimed_job"),
    JOBS.c.fence == bindparam("claimed_fence"),
    # By a constraint only a running job has a worker. The state is not compared as well: the planner might
    # then choose the index of running jobs, which keeps dead entries since the oldest snapshot.
    JOBS.c.worker_id == bindparam("claimed_by"),
)

ATTEMPTS_OF_JOB = select(func.count()).where(ATTEMPTS.c.job_id == JOBS.c.id)

# A claim may be repeated, since the first reply may have been lost with the connection. It may not once a
# call was begun: the outcome of that call is unknown, so the rescue decides and no other call begins.
IS_REPEATED = and_(
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
        or_(JOBS.c.queue_state == DISPATCHED, IS_REPEATED),
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
        JOBS.c.bought_form,
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
        JOBS.c.priority,
        BATCH_HAS_A_BUDGET.label("has_budget"),
        (~BATCH_FORBIDS_REUSE).label("reuses"),
        ATTEMPTS_OF_JOB.scalar_subquery().label("attempts"),
        ATTEMPTS_OF_JOB.where(ATTEMPTS.c.code.is_distinct_from(NOT_SENT)).scalar_subquery().label("calls"),
    )
)

GIVE_BACK = (
    update(JOBS)
    .where(
        JOBS.c.id == bindparam("claimed_job"),
        JOBS.c.fence == bindparam("claimed_fence"),
        JOBS.c.queue_state == DISPATCHED,
    )
    .values(queue_state=READY)
    .returning(JOBS.c.id)
)


def claim(database: Database, job_id: uuid.UUID, fence: int, worker_id: uuid.UUID) -> Claim | None:
    """Claim a job that was dispatched under `fence`; None if the message is late or another worker has it.

    The same worker gets the same claim again until it begins a call; it must not claim twice at the same
    time. Once its call is open, only the rescue takes the job.
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
        bought_form=ReturnForm(row.bought_form),
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
        priority=Priority(row.priority),
    )


def hand_back(database: Database, job_id: uuid.UUID, fence: int) -> bool:
    """Make a job ready again that was dispatched and not claimed; false if it is neither."""
    parameters = {"claimed_job": job_id, "claimed_fence": fence}
    return database.scalar(GIVE_BACK, parameters) is not None


def seconds_left(database: Database, result: PaidResult) -> float:
    """Seconds until the recorded result's URL expires, by Postgres' clock; negative once it has.

    A worker's own clock may be wrong, and a loss declared too early is a credit thrown away.
    """
    if result.expires_at is None:
        raise ValueError("the result is not recorded yet, so its expiry is not known")
    expires_at = literal(result.expires_at, DateTime(timezone=True))
    left = cast(extract("epoch", expires_at - func.clock_timestamp()), Double)
    seconds: float = database.scalars(select(left)).one()
    return seconds
