"""The line: what the dispatcher hands out, in order, at a cost that does not grow with the backlog."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Interval,
    Row,
    Select,
    Subquery,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    func,
    not_,
    select,
    true,
    update,
)

from cutout.enums import Standing, State, Step, Stop
from cutout.models import ACCOUNTS, BATCHES, BREAKER, JOBS, LINE, WORKERS, constant
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.queue import producer_shares
from cutout.queue.attempts.attempts import DAY_IS_SPENT
from cutout.queue.blocks.blocked_jobs import IS_ANY_PARKED
from cutout.queue.blocks.conditions import BATCH_IS_BLOCKED, BLOCKED
from cutout.queue.blocks.download_limit import Downloads, over_bound, was_handed_out_long_ago
from cutout.queue.blocks.isolated_workers import IS_CUT_OFF
from cutout.queue.index_marks import LineMarks
from cutout.queue.queue_walk import OWNER_OF_JOB, Line, lines_in_line
from cutout.queue.reuse.same_picture import IS_ANY_WAITING
from cutout.queue.reuse.serve_reused import IS_BOUGHT, NO_SHELF, HandedOut, Shelf
from cutout.queue.snapshot_marks import Marks

MOST_WOKEN = 1000
# Parked by one statement, and such statements in one tick: a paused batch is out of the way within seconds.
MOST_PARKED = 2000
MOST_ROUNDS = 5

IN_LINE = constant(Standing.IN_LINE)
HANDED_OUT = constant(Standing.HANDED_OUT)
SERVING = constant(Standing.SERVING)
RESTING = constant(Standing.RESTING)
PARKED = constant(Standing.PARKED)
SOURCE_LIMIT = constant(Standing.SOURCE_LIMIT)
RUNNING = constant(State.RUNNING)

# Producers that have no turn in this statement.
LEFT_OUT = bindparam("left_out", type_=ARRAY(Uuid))

BOTH = (False, True)
# How a job leaves the line for a worker.
WAYS = (Standing.HANDED_OUT, Standing.SERVING)

DUE = select(JOBS.c.id).where(
    JOBS.c.standing.in_([RESTING, HANDED_OUT, SERVING]),
    JOBS.c.scheduled_at <= func.now(),
    JOBS.c.scheduled_at >= bindparam("due_since", type_=DateTime(timezone=True)),
)

WAKE = (
    update(JOBS)
    .where(is_among(JOBS.c.id, DUE.limit(MOST_WOKEN).with_for_update(skip_locked=True)))
    .values(standing=IN_LINE)
    .returning(JOBS.c.step, OWNER_OF_JOB.label("owner"), JOBS.c.priority, JOBS.c.place)
)

COPIES_IN_LINE = (
    select(JOBS.c.id)
    .where(JOBS.c.standing == IN_LINE, JOBS.c.step == constant(Step.COPY))
    .order_by(JOBS.c.result_expires_at)
)
# With the bucket away, only what must be saved elsewhere: it dies soon and is not in the lifeboat yet.
COPIES_DYING = COPIES_IN_LINE.where(
    JOBS.c.result_expires_at <= func.now() + bindparam("dying_within", type_=Interval),
    JOBS.c.lifeboat_key.is_(None),
)


def _handed(chosen: Select[Any], standing: ColumnElement[str], *which: ColumnElement[bool]) -> CTE:
    return (
        update(JOBS)
        .where(is_among(JOBS.c.id, chosen), *which)
        .values(
            standing=standing,
            fence=JOBS.c.fence + 1,
            scheduled_at=func.now() + bindparam("lease", type_=Interval),
        )
        .returning(
            JOBS.c.id,
            JOBS.c.fence,
            JOBS.c.standing,
            JOBS.c.priority,
            JOBS.c.place,
            JOBS.c.batch_id,
            JOBS.c.result_expires_at,
            OWNER_OF_JOB.label("owner"),
        )
        .cte("handed")
    )


def _calls(*, marked: bool, bounded: bool) -> Select[uuid.UUID, int, str, uuid.UUID]:
    """The first in line. Instead those of a batch that is blocked are parked, once for as long as it is, and
    those over their producer's bound on downloads stand aside.

    Each counts against its producer's share. If what cannot go did not, its producer would stay the first,
    and the others would have no turn until all of it is out of the way.
    """
    served = producer_shares.may_be_served(marked=marked)
    chosen = producer_shares.next_in_line(served, besides=LEFT_OUT).cte("chosen")
    handed = _handed(
        select(chosen.c.id),
        case(
            (BATCH_IS_BLOCKED, PARKED),
            (IS_BOUGHT, SERVING),
            *([(is_among(JOBS.c.id, over_bound(chosen)), SOURCE_LIMIT)] if bounded else []),
            else_=HANDED_OUT,
        ),
    )
    went = (
        select(
            handed.c.owner,
            func.count().label("jobs"),
            func.max(handed.c.place).filter(handed.c.standing.in_([HANDED_OUT, SERVING])).label("furthest"),
        )
        .group_by(handed.c.owner)
        .cte("went")
    )
    return (
        producer_shares.in_turn(served, handed)
        .add_columns(handed.c.standing, handed.c.owner, handed.c.priority, handed.c.place)
        .add_cte(
            producer_shares.charge(served, went).cte("charged"),
            producer_shares.pass_time(served, went).cte("passed"),
        )
    )


def _copies(in_line: Select[uuid.UUID]) -> Select[uuid.UUID, int]:
    first = in_line.limit(bindparam("count")).with_for_update(skip_locked=True)
    handed = _handed(first, HANDED_OUT)
    return select(handed.c.id, handed.c.fence).order_by(handed.c.result_expires_at)


def _bought(*, marked: bool) -> Select[uuid.UUID, int]:
    """Those of the first in line that need no call.

    The present of their line stays where it is: who is passed over would come behind who is enqueued next.
    """
    served = producer_shares.may_be_served(marked=marked)
    chosen = producer_shares.next_in_line(served).cte("chosen")
    handed = _handed(select(chosen.c.id), SERVING, IS_BOUGHT, not_(BATCH_IS_BLOCKED))
    return producer_shares.in_turn(served, handed).add_columns(
        handed.c.owner, handed.c.priority, handed.c.place
    )


def _park() -> Select[uuid.UUID, int, float]:
    """What else of these lines is blocked, from these places on; the last place of each that was."""
    asked = func.unnest(
        bindparam("owners", type_=ARRAY(Uuid)),
        bindparam("priorities", type_=ARRAY(Integer)),
        bindparam("places", type_=ARRAY(Double)),
    ).table_valued(column("owner", Uuid), column("priority", Integer), column("place", Double))
    lines = asked.render_derived(name="lines")
    near = producer_shares.line_of(lines).add_columns(JOBS.c.batch_id)
    its = near.limit(bindparam("each", type_=Integer)).lateral("its")
    head = select(its.c.id, its.c.batch_id).select_from(lines).join(its, true()).subquery()
    blocked = select(head.c.id).join(BATCHES, BATCHES.c.id == head.c.batch_id).where(BLOCKED)
    # Whoever cancels them has locked them, in another order.
    free = select(JOBS.c.id).where(is_among(JOBS.c.id, blocked)).with_for_update(skip_locked=True)
    line = (OWNER_OF_JOB.label("owner"), JOBS.c.priority)
    parked = (
        update(JOBS)
        .where(is_among(JOBS.c.id, free), JOBS.c.standing == IN_LINE, BATCH_IS_BLOCKED)
        .values(standing=PARKED)
        .returning(*line, JOBS.c.place)
        .cte("parked")
    )
    its_line = (parked.c.owner, parked.c.priority)
    return select(*its_line, func.max(parked.c.place).label("place")).group_by(*its_line)


PARK = _park()
# By whether lines are marked, and whether a producer's bound on downloads may keep a job where it is.
HAND_OUT_CALLS = {
    (marked, bounded): Compiled(_calls(marked=marked, bounded=bounded)) for marked in BOTH for bounded in BOTH
}
HAND_OUT_BOUGHT = {marked: Compiled(_bought(marked=marked)) for marked in BOTH}
HAND_OUT_COPIES = _copies(COPIES_IN_LINE)
HAND_OUT_DYING = _copies(COPIES_DYING)


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to do: whether jobs are due to rejoin the line, and for each step whether any stand in
    line and how many are outstanding, that is handed out or running. `serving` jobs are handed out without
    a need for a call; `long_out` of those at the step `call` were handed out so long ago that they may be on
    their way from a slow source.

    Calls may go out for the accounts in `open_accounts`, unless the line is `paused`, a breaker is open
    (`stops`) or the day's budget `spent`. `parked` says that there are parked jobs, whether or not they may
    come back, `limited` that some are over their producer's bound on downloads, `waiting` that some wait for
    another one, `cut_off` that a living worker does not reach the bucket.
    """

    due: bool
    open_accounts: frozenset[str]
    paused: bool
    stops: frozenset[Stop]
    cut_off: bool
    spent: bool
    parked: bool
    limited: bool
    waiting: bool
    in_line: dict[Step, bool]
    outstanding: dict[Step, int]
    serving: int
    long_out: int

    @property
    def away(self) -> bool:
        """Whether the bucket takes no cutouts."""
        return Stop.BUCKET in self.stops

    @property
    def calls_may_go(self) -> bool:
        return self.may_probe and not self.stops

    @property
    def may_probe(self) -> bool:
        """Whether nothing but a breaker stops the calls."""
        return bool(self.open_accounts) and not (self.paused or self.spent)


def _is_in_line(step: Step, *, marked: bool) -> ColumnElement[bool]:
    if step is Step.CALL:
        return select(lines_in_line(marked=marked).c.owner).exists()
    # In order: as the first one found it would read the table, where the statistics promise many.
    return COPIES_IN_LINE.limit(1).scalar_subquery().is_not(None)


def _outstanding(name: str, *which: ColumnElement[bool]) -> Subquery:
    """Of each step how many, how many of them need no call, and when the first one's lease ends."""
    serving = JOBS.c.standing == SERVING
    return (
        select(
            *(func.count().filter(JOBS.c.step == constant(step), serving.is_not(True)) for step in Step),
            func.count().filter(serving),
            func.min(JOBS.c.scheduled_at),
            func.count().filter(
                JOBS.c.step == constant(Step.CALL), was_handed_out_long_ago(JOBS.c.scheduled_at)
            ),
        )
        .where(*which, JOBS.c.scheduled_at >= bindparam("since", type_=DateTime(timezone=True)))
        .subquery(name)
    )


def _survey(*, marked: bool) -> Select[*tuple[Any, ...]]:
    # In the order of their indexes, and each looked through once.
    handed_out = _outstanding("handed_out", JOBS.c.standing.in_([HANDED_OUT, SERVING]))
    running = _outstanding("running", JOBS.c.state == RUNNING)
    *handed, serving, first_handed, long_handed = handed_out.c
    *ran, _, first_running, long_running = running.c
    return select(
        DUE.exists(),
        select(func.array_agg(ACCOUNTS.c.name))
        .where(
            ACCOUNTS.c.name == any_(bindparam("accounts", type_=ARRAY(Text))), ACCOUNTS.c.paused_at.is_(None)
        )
        .scalar_subquery(),
        select(LINE.c.id).where(LINE.c.paused_at.is_not(None)).exists(),
        select(func.array_agg(BREAKER.c.kind)).where(BREAKER.c.opened_at.is_not(None)).scalar_subquery(),
        select(WORKERS.c.id).where(IS_CUT_OFF).exists(),
        DAY_IS_SPENT,
        IS_ANY_PARKED,
        select(JOBS.c.id).where(JOBS.c.standing == SOURCE_LIMIT).exists(),
        IS_ANY_WAITING,
        func.now(),
        func.least(first_handed, first_running),
        serving,
        long_handed + long_running,
        *(_is_in_line(step, marked=marked) for step in Step),
        *(handed[n] + ran[n] for n in range(len(Step))),
    ).select_from(handed_out.join(running, true()))


SURVEY = {marked: Compiled(_survey(marked=marked)) for marked in BOTH}


def survey(
    database: Database,
    accounts: Sequence[str],
    day_budget: int | None = None,
    marks: Marks | None = None,
    lines: LineMarks | None = None,
    *,
    lease: timedelta = timedelta(0),
) -> Survey:
    """Look, in one query, at all that a dispatcher must know before it moves anything.

    With marks, which it moves on, it looks no further back than need be.
    """
    marks = marks or Marks()
    marks.begin()
    asked: dict[str, Any] = {"accounts": list(accounts), "day_budget": day_budget, "lease": lease}
    asked |= {"since": marks.outstanding, "due_since": marks.due}
    if lines is not None:
        lines.look(database)
        asked |= lines.as_parameters()
    row: Sequence[Any] = SURVEY[lines is not None and lines.are_set].first(database, asked)
    due, open_accounts, paused, stops, cut_off, spent, parked, limited, waiting, *rest = row
    now, first, serving, long_out, *by_step = rest
    marks.take(now, first, lease, due=due)
    steps = len(Step)
    return Survey(
        due=due,
        open_accounts=frozenset(open_accounts or ()),
        paused=paused,
        stops=frozenset(map(Stop, stops or ())),
        cut_off=cut_off,
        spent=bool(spent),
        parked=parked,
        limited=limited,
        waiting=waiting,
        in_line=dict(zip(Step, map(bool, by_step[:steps]), strict=True)),
        outstanding=dict(zip(Step, by_step[steps:], strict=True)),
        serving=serving,
        long_out=long_out,
    )


def wake(database: Database, marks: Marks | None = None, lines: LineMarks | None = None) -> int:
    """Put jobs back in line that rested long enough or whose message was never claimed; returns how many."""
    since = (marks or Marks()).due
    rows = database.execute(WAKE, {"due_since": since}).all()
    if lines is not None:
        lines.entered(row for row in rows if row.step == Step.CALL)
    return len(rows)


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is: for a call, or to be served from what was bought.

    Publish them after the commit; unclaimed ones come back after their lease.
    """

    calls: HandedOut
    served: HandedOut


def hand_out(
    database: Database,
    count: int,
    *,
    lease: timedelta,
    shelf: Shelf | None = None,
    room: int = 0,
    downloads: Callable[[], Downloads] | None = None,
    lines: LineMarks | None = None,
) -> Turns:
    """Take the first in line, by their producers' shares, until `count` of them are for a call.

    Those that the shelf has a cutout for are taken on the way, up to `room` of them and what comes with the
    last round; jobs of blocked batches are parked. With `downloads`, which is looked at before each round,
    jobs over their producer's bound are passed over, and it has no turn in a further round. After MOST_ROUNDS
    fewer may be taken than there are.
    """
    turns = Turns([], [])
    left_out: set[uuid.UUID] = set()
    lines = LineMarks() if lines is None else lines
    on_the_shelf = shelf.as_parameters() if shelf else NO_SHELF
    for _ in range(MOST_ROUNDS):
        left = count - len(turns.calls)
        bounds = downloads() if downloads is not None else None
        asked = {"count": left, "lease": lease, "left_out": list(left_out), **on_the_shelf}
        if is_bounded := bounds is not None and bounds.may_bind(left):
            asked |= bounds.as_parameters()
        rows = HAND_OUT_CALLS[lines.are_set, is_bounded].rows(database, asked | lines.as_parameters())
        lines.left(rows)
        calls, served = (
            [(row.id, row.fence) for row in rows if row.standing == standing] for standing in WAYS
        )
        turns.calls.extend(calls)
        turns.served.extend(served)
        if len(calls) == len(rows) or len(turns.calls) == count:
            break
        left_out |= {row.owner for row in rows if row.standing == Standing.SOURCE_LIMIT}
        if served:
            if len(turns.served) >= room:
                break
            more = {"count": room - len(turns.served), "lease": lease, **on_the_shelf}
            bought = HAND_OUT_BOUGHT[lines.are_set].rows(database, more | lines.as_parameters())
            lines.left(bought)
            turns.served.extend((row.id, row.fence) for row in bought)
        _park_more(database, [row for row in rows if row.standing == Standing.PARKED], lines)
    return turns


def _park_more(database: Database, parked: Sequence[Row[Any]], lines: LineMarks) -> None:
    """Park what else is blocked in the lines of these jobs, behind them."""
    places: dict[Line, float] = {}
    for row in parked:
        line = (row.owner, row.priority)
        places[line] = min(row.place, places.get(line, row.place))
    if places:
        asked = {
            "owners": [owner for owner, _ in places],
            "priorities": [priority for _, priority in places],
            "places": list(places.values()),
            "each": MOST_PARKED // len(places),
        }
        lines.left(database.execute(PARK, asked))


def hand_out_calls(database: Database, count: int, *, lease: timedelta) -> HandedOut:
    """Take the next `count` jobs in line for a call each, whatever was bought before."""
    return hand_out(database, count, lease=lease).calls


def hand_out_copies(
    database: Database, count: int, *, lease: timedelta, dying_within: timedelta | None = None
) -> HandedOut:
    """Take the first `count` jobs in line for a copy, by their results' expiry.

    With `dying_within` only those that expire so soon and are not in the lifeboat: the bucket is away.
    """
    if dying_within is None:
        return _hand_out(database, HAND_OUT_COPIES, count, lease)
    return _hand_out(database, HAND_OUT_DYING, count, lease, dying_within=dying_within)


def _hand_out(
    database: Database, change: Select[uuid.UUID, int], count: int, lease: timedelta, **more: timedelta
) -> HandedOut:
    rows = database.execute(change, {"count": count, "lease": lease, **more})
    return [(row.id, row.fence) for row in rows]
