"""Batches with their counts, counted at most once a second for all clients together."""

import asyncio
import math
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime

from api.live.read_pool import ReadPool
from api.schemas import BatchView, view_batch
from cutout.enums import State
from cutout.status.batch_credits import credits_of_batch
from cutout.status.batch_status import BatchStatus, Pauses, batch_status
from cutout.status.eta import QueueRate
from cutout.status.poll_pause import LATEST_S, SOONEST_S, poll_pause
from cutout.telemetry.fresh_cache import MOST_KEPT, FreshCache

# Counting a large batch's credits is work for the database: it takes at most this share of its time.
CREDITS_SHARE = 0.05
SPEED_OVER_S = 60.0
# After an approval: the dispatcher sees it within seconds.
RELEASED_S = 5.0


@dataclass(frozen=True, slots=True)
class CountedBatch:
    """A batch as it is shown. `eta_seconds` is None while nothing moves or the rate is unknown.

    `outputs_eta_seconds` is None if no output waits or no renderer runs. `output_pause` is the number of
    seconds before the next poll for outputs. `is_released`: it was approved a moment ago, and its
    jobs are about to move.
    """

    status: BatchStatus
    credits: int
    eta_seconds: int | None
    outputs_eta_seconds: int | None = None
    output_pause: int = LATEST_S
    is_released: bool = False

    def view(self) -> BatchView:
        return view_batch(
            self.status, self.credits, self.eta_seconds, self.outputs_eta_seconds, self.poll_after_seconds
        )

    def with_pauses(self, pauses: Pauses) -> "CountedBatch":
        """Return the counted batch with its pauses as they are after a pause or resume."""
        status = replace(self.status, **pauses._asdict())
        return replace(self, status=status, eta_seconds=None if pauses.rests else self.eta_seconds)

    def with_actions(self, changed: BatchStatus) -> "CountedBatch":
        """Return the counted batch as it is after the request of an action, before any job is changed."""
        return replace(self, status=changed, eta_seconds=None)

    @property
    def moving(self) -> int:
        """The number of jobs and actions that continue by themselves."""
        counts = self.status.counts
        return counts[State.QUEUED] + counts[State.RUNNING] + len(self.status.under_way)

    @property
    def poll_after_seconds(self) -> int | None:
        """In how many seconds, 1 to 60, a look is worth while; None once it is finished with its outputs."""
        if self.status.is_rendered:
            return None
        if self.status.under_way or self.is_released:
            return SOONEST_S
        if self.status.finished_at is not None:
            return self.output_pause
        if self.status.rests or not self.moving:
            return LATEST_S
        return poll_pause(self.eta_seconds or SOONEST_S)


@dataclass(slots=True)
class _Known:
    """The last count of a batch, kept until the next one."""

    credits: int | None = None
    credits_of: datetime | None = None
    credits_again_at: float = 0.0
    counting: "asyncio.Task[int] | None" = None
    done: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=round(SPEED_OVER_S)))

    def speed(self, done: int) -> float | None:
        """Jobs a second that came to an end within the last minute."""
        now = time.monotonic()
        while self.done and self.done[0][0] < now - SPEED_OVER_S:
            self.done.popleft()
        self.done.append((now, done))
        since, before = self.done[0]
        return (done - before) / (now - since) if done > before else None


class BatchCache:
    """Counts each batch at most once a second.

    Its credits are counted less often, by what it takes, and once more when it is finished:
    then they are exact.
    """

    def __init__(self, looks: ReadPool, pace: FreshCache[None, QueueRate]) -> None:
        self._looks, self._pace = looks, pace
        self._known: OrderedDict[uuid.UUID, _Known] = OrderedDict()
        self._released: dict[uuid.UUID, float] = {}
        # By batch and who asks: what one has counted is on its own account.
        self.batches: FreshCache[tuple[uuid.UUID, uuid.UUID | None], CountedBatch] = FreshCache(self._count)

    async def of(
        self, batch_id: uuid.UUID, producer_id: uuid.UUID | None, *, since: float = 0.0
    ) -> CountedBatch | None:
        """The producer's batch with this id, or anybody's for an operator (None); None if there is none."""
        return await self.batches.get((batch_id, producer_id), since=since)

    def release(self, batch_id: uuid.UUID) -> None:
        """Note that the batch was approved: its jobs move once the dispatcher has seen it."""
        now = time.monotonic()
        self._released = {known: at for known, at in self._released.items() if now - at < RELEASED_S}
        self._released[batch_id] = now

    async def _count(self, asked: tuple[uuid.UUID, uuid.UUID | None]) -> CountedBatch | None:
        batch_id, producer_id = asked
        # Another's takes as long to be refused as none: it is neither counted nor found in memory.
        status = await self._looks.slow(
            lambda connection: batch_status(connection, batch_id, producer_id), of=producer_id
        )
        if status is None:
            return None
        known = self._known.setdefault(batch_id, _Known())
        self._known.move_to_end(batch_id)
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        credits_, eta = await self._credits(status, known), await self._eta(status, known)
        counted = CountedBatch(status, credits_, eta)
        if status.waiting_outputs:
            counted = CountedBatch(status, credits_, eta, *await self._outputs_eta(status.waiting_outputs))
        is_released = time.monotonic() - self._released.get(batch_id, -RELEASED_S) < RELEASED_S
        return replace(counted, is_released=is_released)

    async def _credits(self, status: BatchStatus, known: _Known) -> int:
        if known.credits is None or status.finished_at != known.credits_of:
            known.credits = await self._count_credits(status, known)
        elif time.monotonic() >= known.credits_again_at and (known.counting is None or known.counting.done()):
            known.counting = asyncio.create_task(self._count_credits(status, known))
        return known.credits

    async def _count_credits(self, status: BatchStatus, known: _Known) -> int:
        began_at = time.monotonic()
        credits_ = await self._looks.slow(
            lambda connection: credits_of_batch(connection, status.id), of=status.producer_id
        )
        ended_at = time.monotonic()
        known.credits_again_at = ended_at + (ended_at - began_at) / CREDITS_SHARE
        known.credits, known.credits_of = credits_, status.finished_at
        return credits_

    async def _eta(self, status: BatchStatus, known: _Known) -> int | None:
        moving = status.counts[State.QUEUED] + status.counts[State.RUNNING]
        speed = known.speed(status.done + status.counts[State.HELD])
        if not moving or status.rests:
            return None
        if speed is not None:
            return math.ceil(moving / speed)
        pace = await self._pace.get(None)
        seconds = pace.seconds_for_many(moving) if pace is not None else None
        return None if seconds is None else math.ceil(seconds)

    async def _outputs_eta(self, waiting: int) -> tuple[int | None, int]:
        """The seconds that so many outputs take, and those before the next poll."""
        pace = await self._pace.get(None)
        if pace is None:
            return None, LATEST_S
        seconds = pace.rendering.seconds_for(waiting)
        return None if seconds is None else math.ceil(seconds), pace.rendering.pause_for(waiting)
