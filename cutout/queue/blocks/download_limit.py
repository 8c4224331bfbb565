"""Jobs whose source lies on the web, between the line and their call: how many each producer may have there.

A server that is slow, or never answers, keeps a thread of a worker for as long as it likes up to a deadline.
The places for such jobs are three quarters of all threads, so that calls, copies and uploaded pictures always
find some. A producer gets another place only while it holds fewer than are free: half of them at most, and
whoever comes later finds some free. Are there none, since many producers' servers are slow at once, then one
that holds no place gets one of a few that are left for this alone.
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

from cutout.enums import Standing, Step
from cutout.models import Job
from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.queue.index_marks import LineMarks
from cutout.queue.snapshot_marks import EVER
from cutout.queue.workers import call_threads
from cutout.storage.bucket import split_address

SHARE_OF_THREADS = 0.75
SHARE_WITH_THE_LAST = 0.9
# Most sources are there by then; a longer way to a call is a slow source's.
SLOW_AFTER = timedelta(seconds=2)
MOST_PRODUCERS = 200
NIL = uuid.UUID(int=0)

OWNERS = bindparam("owners", type_=ARRAY(Uuid))
ROOMS = bindparam("rooms", type_=ARRAY(Integer))
# Any other address is of the web. A scheme of the web may be written in capitals, that of a bucket may not.
IN_A_BUCKET = "s3://%"

# The standings and steps are written out, for the partial indexes to be known by them.
LOOK = text(
    f"""
    SELECT owner, count(*) AS held,
        count(*) FILTER (WHERE scheduled_at < now() + :lease - :slow_after) AS slow
    FROM (
        SELECT id, {OWNER} AS owner, scheduled_at, step, source FROM jobs
        WHERE standing = 'handed_out' AND scheduled_at >= :since
        UNION ALL
        SELECT id, {OWNER} AS owner, scheduled_at, step, source FROM jobs
        WHERE state = 'running' AND scheduled_at >= :since
    ) outstanding
    WHERE step = 'call' AND source NOT LIKE '{IN_A_BUCKET}'
    AND NOT EXISTS (SELECT FROM attempts WHERE attempts.job_id = outstanding.id AND attempts.ended_at IS NULL)
    GROUP BY owner
    """  # noqa: S608 - constants
).bindparams(bindparam("since", type_=DateTime(timezone=True)))

# From each producer to the next by the index, whatever the number of its jobs; some of the jobs of each.
BRING_BACK = text(
    f"""
    WITH RECURSIVE walk (owner, n) AS (
        (
            SELECT {OWNER}, 1 FROM jobs WHERE standing = 'source_limit' AND {OWNER} >= :first
            ORDER BY {OWNER} LIMIT 1
        )
        UNION ALL
        SELECT following.owner, n + 1 FROM walk CROSS JOIN LATERAL (
            SELECT {OWNER} AS owner FROM jobs WHERE standing = 'source_limit' AND {OWNER} > walk.owner
            ORDER BY {OWNER} LIMIT 1
        ) following
        WHERE n < :most
    ),
    known AS (SELECT * FROM unnest(:owners, :rooms) AS known (name, room)),
    chosen AS (
        SELECT their.id FROM walk LEFT JOIN known ON known.name = walk.owner
        CROSS JOIN LATERAL (
            SELECT id FROM jobs WHERE standing = 'source_limit' AND {OWNER} = walk.owner
            ORDER BY priority, place
            LIMIT least(
                coalesce(known.room, :room_of_others), greatest(:room_of_all / (SELECT count(*) FROM walk), 1)
            )
        ) their
    ),
    moved AS (
        UPDATE jobs SET standing = 'in_line', scheduled_at = least(scheduled_at, now())
        WHERE id = ANY (ARRAY(
            SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM chosen)) AND standing = 'source_limit'
            FOR UPDATE SKIP LOCKED
        )) AND standing = 'source_limit'
        RETURNING {OWNER} AS owner, priority, place
    )
    SELECT producers, last, moved.* FROM
        (SELECT count(*) AS producers, (array_agg(owner ORDER BY owner DESC))[1] AS last FROM walk) walked
        LEFT JOIN (
            SELECT owner, priority, min(place) AS place, count(*) AS moved FROM moved GROUP BY owner, priority
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


def was_handed_out_long_ago(leased_until: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a job whose lease ends then was handed out for `lease` longer ago than most sources take."""
    return leased_until < func.now() + bindparam("lease", type_=Interval) - SLOW_AFTER


def over_bound(chosen: CTE) -> Select[Any]:
    """Ids of the chosen jobs that are over their producer's bound; `chosen` has id, owner, source and order.

    Where all together are too many, each producer's first come first, in no order that one could rely on.
    """
    rooms = func.unnest(OWNERS, ROOMS).table_valued(column("name", Uuid), column("room", Integer))
    known = rooms.render_derived(name="known")
    n = func.row_number().over(partition_by=chosen.c.owner, order_by=(chosen.c.priority, chosen.c.place))
    numbered = (
        select(chosen.c.id, chosen.c.owner, n.label("n"))
        .where(is_on_the_web(chosen.c.source))
        .subquery("numbered")
    )
    room = func.coalesce(known.c.room, bindparam("room_of_others", type_=Integer))
    may_go = (numbered.c.n <= room).label("may_go")
    bounded = (
        select(numbered, may_go)
        .select_from(numbered)
        .outerjoin(known, known.c.name == numbered.c.owner)
        .subquery("bounded")
    )
    nth = func.count().filter(bounded.c.may_go).over(order_by=(bounded.c.n, func.random()))
    each = select(bounded.c.id, bounded.c.may_go, nth.label("nth")).subquery("each_one")
    return select(each.c.id).where(
        or_(not_(each.c.may_go), each.c.nth > bindparam("room_of_all", type_=Integer))
    )


@dataclass(frozen=True, slots=True)
class Downloads:
    """Places among so many threads, and those that each producer holds; `slow` jobs are long on their way.

    Jobs without a producer count as one producer's.
    """

    threads: int
    held: Mapping[uuid.UUID, int] = field(default_factory=dict)
    slow: int = 0

    @property
    def taken(self) -> int:
        """Places that all of them hold."""
        return sum(self.held.values())

    @property
    def free(self) -> int:
        """Places that nobody holds."""
        return max(places_of(self.threads) - self.taken, 0)

    @property
    def room(self) -> int:
        """How many more may take one now, of all producers; half of what is free is left for the next look.

        If nothing is, it is one, for a producer that holds none.
        """
        return _half(self.free) or int(self.taken < int(self.threads * SHARE_WITH_THE_LAST))

    def room_of(self, owner: uuid.UUID | None) -> int:
        """How many more of this producer may take one now."""
        held = self.held.get(owner or NIL, 0)
        return _half(self.free - held) if held else self.room

    def may_bind(self, count: int) -> bool:
        """Whether any of the next `count` jobs may be over a bound, whosever they are."""
        return min(self.room, *map(self.room_of, self.held), count) < count

    def as_parameters(self) -> dict[str, Any]:
        """The values that over_bound and BRING_BACK wait for."""
        return {
            "owners": list(self.held),
            "rooms": [self.room_of(owner) for owner in self.held],
            "room_of_others": self.room,
            "room_of_all": self.room,
        }


def _half(places: int) -> int:
    return max(-(-places // 2), 0)


def places_of(threads: int) -> int:
    """The places for downloads on so many threads; one at least."""
    return max(int(threads * SHARE_OF_THREADS), 1)


def look(database: Database, threads: int, *, lease: timedelta, since: datetime = EVER) -> Downloads:
    """Count them, among `threads` of all workers, since the mark `since` (`queue/snapshot_marks.py`)."""
    asked = {"lease": lease, "slow_after": SLOW_AFTER, "since": since}
    rows = database.execute(LOOK, asked).all()
    held = {row.owner: row.held for row in rows}
    return Downloads(threads, held, sum(row.slow for row in rows))


def first_as(present: Downloads, look: Callable[[], Downloads]) -> Callable[[], Downloads]:
    """The same look, whose first answer is known."""
    known = [present]
    return lambda: known.pop() if known else look()


class Returns:
    """Where a dispatcher is on its walk through the producers whose jobs were moved out of the way."""

    def __init__(self) -> None:
        self._first = NIL

    def bring_back(self, database: Database, downloads: Downloads, lines: LineMarks | None = None) -> int:
        """Put as many of each producer back in line, in their old places, as may go now; returns how many."""
        asked = downloads.as_parameters() | {"first": self._first, "most": MOST_PRODUCERS}
        rows = database.execute(BRING_BACK, asked).all()
        self._first = rows[0].last if rows[0].producers == MOST_PRODUCERS else NIL
        moved = [row for row in rows if row.moved]
        if lines is not None:
            lines.entered(moved)
        return sum(row.moved for row in moved)


def is_over_bound(database: Database, job: Job) -> bool:
    """Whether nothing but its producer's bound keeps a queued job where it is, as it stands now."""
    if job.standing == Standing.SOURCE_LIMIT:
        return True
    if job.standing != Standing.IN_LINE or job.step != Step.CALL or split_address(job.source):
        return False
    threads = call_threads(database)
    return threads is not None and look(database, threads, lease=timedelta(0)).room_of(job.producer_id) == 0
