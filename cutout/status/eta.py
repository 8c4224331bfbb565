"""Estimate of when a job will have progressed, by the rate of the queue: the delay before the next poll."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from cutout.enums import FINAL_STATES, QueueState, State, Step
from cutout.models import Limit, QueueClock, Share
from cutout.models.database import Database
from cutout.status.call_rate import calls_a_second
from cutout.status.job_view import JobSnapshot
from cutout.status.poll_pause import LATEST_S, SOONEST_S, poll_pause
from cutout.status.render_rate import RenderRate, read_render_rate


@dataclass(frozen=True, slots=True)
class QueueRate:
    """Virtual time of each producer's queue, the calls a second that the limits allow, and a call's seconds.

    `rendering` is the speed of the renderers.

    None is unknown. `now` is the time of the reading, by Postgres' clock.
    """

    virtual_times: Mapping[uuid.UUID, float]
    paused: bool
    calls_a_second: float | None
    call_seconds: float | None
    now: datetime
    rendering: RenderRate

    def seconds_for(self, job: JobSnapshot, producer_id: uuid.UUID) -> int | None:
        """Seconds (1 to 60) after which the producer's job may have progressed.

        None once it is final and none of its outputs is waiting.
        Too low if several batches share the producer's queue or several producers the calls, since a virtual
        start counts only its own batch's jobs.
        """
        if job.state in FINAL_STATES:
            return self.rendering.pause_for() if job.waits_for_outputs else None
        return poll_pause(self._guess(job, producer_id))

    def seconds_for_many(self, jobs: int) -> float | None:
        """The least time for so many calls; None while the rate is unknown."""
        return jobs / self.calls_a_second if self.calls_a_second else None

    def _guess(self, job: JobSnapshot, producer_id: uuid.UUID) -> float:
        if job.state == State.HELD or job.queue_state in (QueueState.BLOCKED, QueueState.SOURCE_LIMIT):
            return LATEST_S
        if job.state == State.RUNNING:
            return self.call_seconds or SOONEST_S if job.step == Step.CALL else SOONEST_S
        if job.queue_state == QueueState.WAITING:
            return self.call_seconds or SOONEST_S
        if job.queue_state == QueueState.DELAYED:
            return (job.scheduled_at - self.now).total_seconds()
        if job.queue_state in (QueueState.DISPATCHED, QueueState.REUSING) or job.step == Step.COPY:
            return SOONEST_S
        if self.paused:
            return LATEST_S
        ahead = job.virtual_start - self.virtual_times.get(producer_id, 0.0)
        return (self.seconds_for_many(1) or 0) * max(ahead, 0)


def read_queue_rate(database: Database, accounts: Sequence[str], ceiling: float | None) -> QueueRate:
    """The rate now, for these accounts of the endpoint, or for all if none are named."""
    shares = database.execute(select(Share.owner, Share.queue_virtual_time))
    clock = database.execute(select(QueueClock.paused_at, func.now().label("now"))).one()
    call_seconds = select(func.max(Limit.latency_seconds)).where(Limit.latency_seconds > 0)
    return QueueRate(
        virtual_times={row.owner: row.queue_virtual_time for row in shares},
        paused=clock.paused_at is not None,
        calls_a_second=calls_a_second(database, accounts, ceiling),
        call_seconds=database.scalar(call_seconds),
        now=clock.now,
        rendering=read_render_rate(database),
    )
