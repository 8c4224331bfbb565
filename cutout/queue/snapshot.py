"""The queue snapshot: all that a dispatcher must know before it moves jobs, read by one query."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Select,
    Subquery,
    Text,
    any_,
    bindparam,
    func,
    select,
    true,
)

from cutout.enums import Step, Stop
from cutout.models import ACCOUNTS, BREAKER, JOBS, QUEUE_CLOCK, WORKERS, constant
from cutout.models.columns import CALL_STEP, DISPATCHED, REUSING, RUNNING, SOURCE_LIMIT
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.queue.attempts.attempts import DAY_IS_SPENT
from cutout.queue.blocks.blocked_jobs import HAS_BLOCKED_JOBS
from cutout.queue.blocks.download_limit import was_dispatched_long_ago
from cutout.queue.blocks.isolated_workers import IS_CUT_OFF
from cutout.queue.blocks.storage_breaker import IS_OPEN
from cutout.queue.dispatch import READY_COPIES
from cutout.queue.promote import DUE
from cutout.queue.queue_scan import nonempty_queues
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.waiting_jobs import HAS_WAITING_JOBS
from cutout.queue.snapshot_watermarks import SnapshotWatermarks


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The state of the queue, of the accounts and of the breakers at one moment.

    `due`: there are jobs to promote. `ready`: for each step, whether it has ready jobs; `outstanding`: for
    each step, how many jobs are dispatched or running; `reusing`: how many dispatched jobs need no call.
    `long_outstanding` counts the calls that were dispatched so long ago that they may wait for a slow source.

    `open_accounts` are not paused. `paused`: an operator paused the whole queue. `stops`: the breakers that
    are open. `spent`: the day's budget is spent. `cut_off`: a living worker cannot reach the bucket.

    There are jobs that are `blocked`, whether or not they may be unblocked; `limited` by their producer's
    bound on downloads; `waiting` for another job that buys the same picture.
    """

    due: bool
    open_accounts: frozenset[str]
    paused: bool
    stops: frozenset[Stop]
    cut_off: bool
    spent: bool
    blocked: bool
    limited: bool
    waiting: bool
    ready: dict[Step, bool]
    outstanding: dict[Step, int]
    reusing: int
    long_outstanding: int

    @property
    def bucket_is_down(self) -> bool:
        """Whether the bucket takes no cutouts."""
        return Stop.BUCKET in self.stops

    @property
    def may_call(self) -> bool:
        """Whether new calls may go out."""
        return self.may_probe and not self.stops

    @property
    def may_probe(self) -> bool:
        """Whether nothing but a breaker stops the calls."""
        return bool(self.open_accounts) and not (self.paused or self.spent)


def _has_ready(step: Step, *, marked: bool) -> ColumnElement[bool]:
    if step is Step.CALL:
        return select(nonempty_queues(marked=marked).c.owner).exists()
    # In order: for the first of any order the planner would read the table, if statistics promise many.
    return READY_COPIES.limit(1).scalar_subquery().is_not(None)


def _outstanding(name: str, *conditions: ColumnElement[bool]) -> Subquery:
    """Jobs of each step, jobs that need no call, the end of the first lease, and calls out for long."""
    is_reusing = JOBS.c.queue_state == REUSING
    return (
        select(
            *(func.count().filter(JOBS.c.step == constant(step), is_reusing.is_not(True)) for step in Step),
            func.count().filter(is_reusing),
            func.min(JOBS.c.scheduled_at),
            func.count().filter(JOBS.c.step == CALL_STEP, was_dispatched_long_ago(JOBS.c.scheduled_at)),
        )
        .where(*conditions, JOBS.c.scheduled_at >= bindparam("since", type_=DateTime(timezone=True)))
        .subquery(name)
    )


def _read(*, marked: bool) -> Select[*tuple[Any, ...]]:
    # In the order of their indexes, and each index read once.
    dispatched = _outstanding("dispatched", JOBS.c.queue_state.in_([DISPATCHED, REUSING]))
    running = _outstanding("running", JOBS.c.state == RUNNING)
    *dispatched_by_step, reusing, first_dispatched, long_dispatched = dispatched.c
    *running_by_step, _, first_running, long_running = running.c
    return select(
        DUE.exists(),
        select(func.array_agg(ACCOUNTS.c.name))
        .where(
            ACCOUNTS.c.name == any_(bindparam("accounts", type_=ARRAY(Text))), ACCOUNTS.c.paused_at.is_(None)
        )
        .scalar_subquery(),
        select(QUEUE_CLOCK.c.id).where(QUEUE_CLOCK.c.paused_at.is_not(None)).exists(),
        select(func.array_agg(BREAKER.c.kind)).where(IS_OPEN).scalar_subquery(),
        select(WORKERS.c.id).where(IS_CUT_OFF).exists(),
        DAY_IS_SPENT,
        HAS_BLOCKED_JOBS,
        select(JOBS.c.id).where(JOBS.c.queue_state == SOURCE_LIMIT).exists(),
        HAS_WAITING_JOBS,
        func.now(),
        func.least(first_dispatched, first_running),
        reusing,
        long_dispatched + long_running,
        *(_has_ready(step, marked=marked) for step in Step),
        *(dispatched_by_step[n] + running_by_step[n] for n in range(len(Step))),
    ).select_from(dispatched.join(running, true()))


# By whether queues have watermarks.
READ = {marked: Compiled(_read(marked=marked)) for marked in (False, True)}


def read_snapshot(
    database: Database,
    accounts: Sequence[str],
    day_budget: int | None = None,
    watermarks: SnapshotWatermarks | None = None,
    queue_watermarks: QueueWatermarks | None = None,
    *,
    lease: timedelta = timedelta(0),
) -> QueueSnapshot:
    """Read the snapshot. With watermarks, which it advances, it skips what lies before them."""
    watermarks = watermarks or SnapshotWatermarks()
    watermarks.begin()
    parameters: dict[str, Any] = {"accounts": list(accounts), "day_budget": day_budget, "lease": lease}
    parameters |= {"since": watermarks.outstanding, "due_since": watermarks.due}
    if queue_watermarks is not None:
        queue_watermarks.refresh(database)
        parameters |= queue_watermarks.as_parameters()
    are_marked = queue_watermarks is not None and queue_watermarks.are_set
    row: Sequence[Any] = READ[are_marked].first(database, parameters)
    due, open_accounts, paused, stops, cut_off, spent, blocked, limited, waiting, *others = row
    now, first, reusing, long_outstanding, *by_step = others
    watermarks.advance(now, first, lease, due=due)
    steps = len(Step)
    return QueueSnapshot(
        due=due,
        open_accounts=frozenset(open_accounts or ()),
        paused=paused,
        stops=frozenset(map(Stop, stops or ())),
        cut_off=cut_off,
        spent=bool(spent),
        blocked=blocked,
        limited=limited,
        waiting=waiting,
        ready=dict(zip(Step, map(bool, by_step[:steps]), strict=True)),
        outstanding=dict(zip(Step, by_step[steps:], strict=True)),
        reusing=reusing,
        long_outstanding=long_outstanding,
    )
