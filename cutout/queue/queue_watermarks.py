"""Watermarks at which a dispatcher begins to read each queue, since indexes may keep many dead entries.

A queue gets a watermark once it takes long to find its first job. The watermark is that job's virtual_start.
It is read again every few seconds, and until then all reads of the queue begin there. A job that this
dispatcher puts back before the watermark moves it back at once. Any other job that comes in before it (a
worker gave a job back, a slow transaction committed, another dispatcher leads as well) is found at the next
refresh: after 3 s, or after up to 10 s if a refresh takes long.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sqlalchemy import ARRAY, Integer, Uuid, bindparam, column, func, select, true

from cutout.enums import Priority
from cutout.models import SHARES
from cutout.models.database import Database
from cutout.queue.queue_scan import QueueKey, first_virtual_start, watermark_parameters

REFRESH_EVERY_S = 3.0
REFRESH_AT_LEAST_EVERY_S = 10.0
# A refresh takes at most this fraction of all time, unless refreshes would then be too rare.
FRACTION_OF_TIME = 500
# The time for some hundred dead index entries. For less, a watermark saves nothing.
WORTH_A_WATERMARK_S = 100e-6
# Queues of producers served recently may have dead entries left by another leader.
READ_RECENT_EVERY_S = 60.0
MOST_RECENT = 300


class QueuedJob(Protocol):
    """A job that came into a queue, or left it."""

    @property
    def owner(self) -> Any: ...
    @property
    def priority(self) -> int: ...
    @property
    def virtual_start(self) -> float: ...


def _find_first_jobs() -> Any:
    owners, priorities = bindparam("owners", type_=ARRAY(Uuid)), bindparam("priorities", type_=ARRAY(Integer))
    given = func.unnest(owners, priorities).table_valued(
        column("owner", Uuid), column("priority", Integer), with_ordinality="n"
    )
    queues = given.render_derived(name="given")
    first = first_virtual_start(queues.c.owner, queues.c.priority).lateral("first_of_queue")
    clock = func.extract("epoch", func.clock_timestamp() - func.statement_timestamp())
    # Rows are produced queue by queue: the difference of two times is the time that one queue took.
    return select(queues.c.n, first.c.virtual_start, clock.label("at_s")).join_from(
        queues, first, true(), isouter=True
    )


FIND_FIRST_JOBS = _find_first_jobs()
SERVED_RECENTLY = (
    select(SHARES.c.owner, SHARES.c.queue_virtual_time)
    .order_by(SHARES.c.virtual_time.desc())
    .limit(MOST_RECENT)
)


class QueueWatermarks:
    """The watermarks of one dispatcher, and the jobs that left each queue since the last refresh."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all watermarks: another dispatcher may have led meanwhile."""
        self._watermarks: dict[QueueKey, float] = {}
        self._removed: dict[QueueKey, float] = {}
        self._parameters: dict[str, Any] | None = None
        self._refresh_at = self._read_recent_at = self._clock()

    @property
    def are_set(self) -> bool:
        """Whether any queue has a watermark."""
        return bool(self._watermarks)

    def as_parameters(self) -> dict[str, Any]:
        """The parameters of statements over queues with watermarks."""
        if self._parameters is None:
            self._parameters = watermark_parameters(self._watermarks) if self._watermarks else {}
        return self._parameters

    def removed(self, jobs: Iterable[QueuedJob]) -> None:
        """Note that these jobs left their queues."""
        for job in jobs:
            queue = (job.owner, job.priority)
            self._removed[queue] = max(job.virtual_start, self._removed.get(queue, job.virtual_start))

    def added(self, jobs: Iterable[QueuedJob]) -> None:
        """Note that these jobs came back, at their old virtual starts."""
        if not self._watermarks:
            return
        for job in jobs:
            queue = (job.owner, job.priority)
            if queue in self._watermarks and job.virtual_start < self._watermarks[queue]:
                self._watermarks[queue] = job.virtual_start
                self._parameters = None

    def refresh(self, database: Database) -> None:
        """Read, every few seconds, the first job of each queue that has a watermark or that jobs left."""
        now = self._clock()
        if now < self._refresh_at:
            return
        if now >= self._read_recent_at:
            self._read_recent_at = now + READ_RECENT_EVERY_S
            for owner, virtual_time in database.execute(SERVED_RECENTLY):
                for priority in Priority:
                    self._removed.setdefault((owner, int(priority)), virtual_time)
        took_s = self._set(database) if self._removed or self._watermarks else 0.0
        pause_s = min(max(REFRESH_EVERY_S, took_s * FRACTION_OF_TIME), REFRESH_AT_LEAST_EVERY_S)
        self._refresh_at = now + pause_s

    def _set(self, database: Database) -> float:
        """Set the watermarks anew; returns the seconds that the read took."""
        before = self._watermarks | self._removed
        queues = [*before]
        parameters = {
            "owners": [owner for owner, _ in queues],
            "priorities": [priority for _, priority in queues],
        }
        watermarks, before_s = {}, 0.0
        for n, virtual_start, at_s in database.execute(FIND_FIRST_JOBS, parameters):
            queue = queues[n - 1]
            if float(at_s) - before_s >= WORTH_A_WATERMARK_S:
                # New jobs of an empty queue come in behind those that left it.
                watermarks[queue] = before[queue] if virtual_start is None else virtual_start
            before_s = float(at_s)
        self._watermarks, self._removed, self._parameters = watermarks, {}, None
        return before_s
