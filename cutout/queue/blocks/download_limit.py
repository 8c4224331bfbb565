"""A limit on downloads: how many jobs with a source on the web each producer may have before their call.

A slow server keeps a worker's thread busy up to a deadline. Downloads may use three quarters of all threads,
their slots, so that calls, copies and uploaded pictures always find a thread. A producer gets another slot
only while it holds fewer than are free: half of the slots at most, so that producers that come later find
some free. If none is free, since many producers' servers are slow at once, a producer without a slot gets one
of a few that are reserved for that.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    Select,
    Uuid,
    bindparam,
    column,
    func,
    not_,
    or_,
    select,
    text,
)

from cutout.enums import QueueState, Step
from cutout.models import Job
from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.snapshot_watermarks import EVER
from cutout.queue.workers import call_threads
from cutout.storage.bucket import split_address

SHARE_OF_THREADS = 0.75
SHARE_WITH_RESERVE = 0.9
# Most sources are fetched by then; the source of a job that takes longer is slow.
SLOW_AFTER = timedelta(seconds=2)
MOST_PRODUCERS = 200
NIL = uuid.UUID(int=0)

OWNERS = bindparam("owners", type_=ARRAY(Uuid))
ROOMS = bindparam("rooms", type_=ARRAY(Integer))
# Every other address is on the web: its scheme may be in capitals, that of a bucket may not.
IN_A_BUCKET = "s3://%"

# States and steps are literals: the planner matches partial indexes by them.
COUNT_DOWNLOADS = text(
    f"""
    SELECT owner, count(*) AS held,
        count(*) FILTER (WHERE scheduled_at < now() + :lease - :slow_after) AS slow
    FROM (
        SELECT id, {OWNER} AS owner, scheduled_at, step, source FROM jobs
        WHERE queue_state = 'dispatched' AND scheduled_at >= :since
        UNION ALL
        SELECT id, {OWNER} AS owner, scheduled_at, step, source FROM jobs
        WHERE state = 'running' AND scheduled_at >= :since
    ) outstanding
    WHERE step = 'call' AND source NOT LIKE '{IN_A_BUCKET}'
    AND NOT EXISTS (SELECT FROM attempts WHERE attempts.job_id = outstanding.id AND attempts.ended_at IS NULL)
    GROUP BY owner
    """  # noqa: S608 - constants
).bindparams(bindparam("since", type_=DateTime(timezone=True)))

# A loose index scan over the producers, and some of the jobs of each.
PROMOTE = text(
    f"""
    WITH RECURSIVE scan (owner, n) AS (
        (
            SELECT {OWNER}, 1 FROM jobs WHERE queue_state = 'source_limit' AND {OWNER} >= :first
            ORDER BY {OWNER} LIMIT 1
        )
        UNION ALL
        SELECT following.owner, n + 1 FROM scan CROSS JOIN LATERAL (
            SELECT {OWNER} AS owner FROM jobs WHERE queue_state = 'source_limit' AND {OWNER} > scan.owner
            ORDER BY {OWNER} LIMIT 1
        ) following
        WHERE n < :most
    ),
    given AS (SELECT * FROM unnest(:owners, :rooms) AS given (name, room)),
    chosen AS (
        SELECT job.id FROM scan LEFT JOIN given ON given.name = scan.owner
        CROSS JOIN LATERAL (
            SELECT id FROM jobs WHERE queue_state = 'source_limit' AND {OWNER} = scan.owner
            ORDER BY priority, virtual_start
            LIMIT least(
                coalesce(given.room, :room_of_others), greatest(:room_of_all / (SELECT count(*) FROM scan), 1)
            )
        ) job
    ),
    moved AS (
        UPDATE jobs SET queue_state = 'ready', scheduled_at = least(scheduled_at, now())
        WHERE id = ANY (ARRAY(
            SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM chosen)) AND queue_state = 'source_limit'
            FOR UPDATE SKIP LOCKED
        )) AND queue_state = 'source_limit'
        RETURNING {OWNER} AS owner, priority, virtual_start
    )
    SELECT producers, last, moved.* FROM
        (SELECT count(*) AS producers, (array_agg(owner ORDER BY owner DESC))[1] AS last FROM scan) scanned
        LEFT JOIN (
            SELECT owner, priority, min(virtual_start) AS virtual_start, count(*) AS moved
            FROM moved GROUP BY owner, priority
        ) moved ON true
    """  # noqa: S608 - constants
).bindparams(
    bindparam("owners", type_=ARRAY(Uuid)),
    bindparam("rooms", type_=ARRAY(Integer)),
    bindparam("first", type_=Uuid),
)


def is_on_the_web(source: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a job's source is fetched from a server that may be slow."""
    return source.not_like(IN_A_BUCKET)


def was_dispatched_long_ago(leased_until: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a job with this end of its lease was dispatched longer ago than most sources take.

    The parameter `lease` is the length of leases.
    """
    return leased_until < func.now() + bindparam("lease", type_=Interval) - SLOW_AFTER


def over_limit(chosen: CTE) -> Select[Any]:
    """Ids of the chosen jobs that are over their producer's limit.

    `chosen` has id, owner, source, priority and virtual_start. If all producers together are over the limit,
    the first jobs of each producer get the slots, in random order of producers.
    """
    rooms = func.unnest(OWNERS, ROOMS).table_valued(column("name", Uuid), column("room", Integer))
    given = rooms.render_derived(name="given")
    n = func.row_number().over(
        partition_by=chosen.c.owner, order_by=(chosen.c.priority, chosen.c.virtual_start)
    )
    numbered = (
        select(chosen.c.id, chosen.c.owner, n.label("n"))
        .where(is_on_the_web(chosen.c.source))
        .subquery("numbered")
    )
    room = func.coalesce(given.c.room, bindparam("room_of_others", type_=Integer))
    may_go = (numbered.c.n <= room).label("may_go")
    bounded = (
        select(numbered, may_go)
        .select_from(numbered)
        .outerjoin(given, given.c.name == numbered.c.owner)
        .subquery("bounded")
    )
    nth = func.count().filter(bounded.c.may_go).over(order_by=(bounded.c.n, func.random()))
    each = select(bounded.c.id, bounded.c.may_go, nth.label("nth")).subquery("each_one")
    return select(each.c.id).where(
        or_(not_(each.c.may_go), each.c.nth > bindparam("room_of_all", type_=Integer))
    )


@dataclass(frozen=True, slots=True)
class Downloads:
    """Download slots among `threads` threads, and the slots `held` by each producer.

    Jobs without a producer count as jobs of one producer. `slow` counts jobs whose source takes long.
    """

    threads: int
    held: Mapping[uuid.UUID, int] = field(default_factory=dict)
    slow: int = 0

    @property
    def taken(self) -> int:
        """Slots that are held."""
        return sum(self.held.values())

    @property
    def free(self) -> int:
        """Slots that are free."""
        return max(download_slots(self.threads) - self.taken, 0)

    @property
    def room(self) -> int:
        """Slots that all producers together may take now: half of the free ones.

        If none is free it is one, for a producer that holds none.
        """
        return _half(self.free) or int(self.taken < int(self.threads * SHARE_WITH_RESERVE))

    def room_of(self, owner: uuid.UUID | None) -> int:
        """Slots that this producer may take now."""
        held = self.held.get(owner or NIL, 0)
        return _half(self.free - held) if held else self.room

    def may_bind(self, count: int) -> bool:
        """Whether any of the next `count` jobs, of any producer, may be over a limit."""
        return min(self.room, *map(self.room_of, self.held), count) < count

    def as_parameters(self) -> dict[str, Any]:
        """The parameters of over_limit and PROMOTE."""
        return {
            "owners": list(self.held),
            "rooms": [self.room_of(owner) for owner in self.held],
            "room_of_others": self.room,
            "room_of_all": self.room,
        }


def _half(slots: int) -> int:
    return max(-(-slots // 2), 0)


def download_slots(threads: int) -> int:
    """The number of download slots for so many threads; at least one."""
    return max(int(threads * SHARE_OF_THREADS), 1)


def count_downloads(
    database: Database, threads: int, *, lease: timedelta, since: datetime = EVER
) -> Downloads:
    """Count the slots held; `threads` is the number of threads of all workers.

    `since` is a lower bound on `scheduled_at` (cutout/queue/snapshot_watermarks.py).
    """
    parameters = {"lease": lease, "slow_after": SLOW_AFTER, "since": since}
    rows = database.execute(COUNT_DOWNLOADS, parameters).all()
    held = {row.owner: row.held for row in rows}
    return Downloads(threads, held, sum(row.slow for row in rows))


def starting_with(first: Downloads, count: Callable[[], Downloads]) -> Callable[[], Downloads]:
    """Wrap `count` so that its first result is `first`."""
    remaining = [first]
    return lambda: remaining.pop() if remaining else count()


class SourceLimitPromoter:
    """The position of a dispatcher in its scan through the producers that have jobs over the limit."""

    def __init__(self) -> None:
        self._first = NIL

    def promote(
        self, database: Database, downloads: Downloads, watermarks: QueueWatermarks | None = None
    ) -> int:
        """Make as many jobs of each producer ready as it may have; returns how many."""
        parameters = downloads.as_parameters() | {"first": self._first, "most": MOST_PRODUCERS}
        rows = database.execute(PROMOTE, parameters).all()
        self._first = rows[0].last if rows[0].producers == MOST_PRODUCERS else NIL
        moved = [row for row in rows if row.moved]
        if watermarks is not None:
            watermarks.added(moved)
        return sum(row.moved for row in moved)


def is_over_limit(database: Database, job: Job) -> bool:
    """Whether only its producer's limit on downloads keeps a queued job from being dispatched now."""
    if job.queue_state == QueueState.SOURCE_LIMIT:
        return True
    if job.queue_state != QueueState.READY or job.step != Step.CALL or split_address(job.source):
        return False
    threads = call_threads(database)
    return (
        threads is not None
        and count_downloads(database, threads, lease=timedelta(0)).room_of(job.producer_id) == 0
    )
