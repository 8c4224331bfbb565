"""Overview of the installation's state, by queries whose cost does not grow with the number of ended jobs.

Final jobs are not counted here: there may be millions of them, and workers count the jobs that they settle.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Row,
    Select,
    Text,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import AttemptOutcome, Priority, QueueState, State, Step
from cutout.models import (
    ACCOUNTS,
    ACTIONS,
    ATTEMPTS,
    BREAKER,
    INGESTS,
    JOBS,
    LIMITS,
    QUEUE_CLOCK,
    SPENDING,
    WORKERS,
    Limit,
    constant,
)
from cutout.monitoring.snapshots import oldest_snapshot
from cutout.monitoring.waiting import Waiting, read_waiting
from cutout.producers.key_expiry import soonest_expiry
from cutout.queue.blocks.blocked_jobs import IS_OVER_BUDGET, WAITS_FOR_ITS_BATCH
from cutout.queue.blocks.isolated_workers import IS_CUT_OFF
from cutout.queue.leader import leader_exists
from cutout.queue.outputs.backlog import Backlog, read_backlog
from cutout.queue.producer_shares import EligibleOwners, eligible_owners, jobs_in_queues
from cutout.queue.reuse import missing_results
from cutout.schedules.lateness import Lateness, late_schedules
from cutout.status.call_rate import CallSettings

# A worker that was silent for longer is not shown; its row stays.
RECENT_WORKERS = timedelta(hours=1)
RECENT_CALLS = timedelta(hours=1)

Rows = Sequence[Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Overview:
    """State of the installation. Rows have the columns of the queries below; ages and waits in seconds."""

    jobs: Rows
    held: Rows
    accounts: Rows
    workers: Rows
    first_in_line: dict[Priority, float]
    calls: dict[str, int]
    overdue_s: float
    next_expiry_s: float | None
    dispatcher_leads: bool
    line_paused: bool
    stops: Rows
    cut_off_workers: int
    missing_cutouts: missing_results.Missing
    day_spent: int
    unfinished_ingests: int
    unfinished_actions: int
    oldest_action_s: float | None
    late_schedules: dict[Lateness, int]
    oldest_snapshot_s: float
    outputs: Backlog
    soonest_key_expiry: datetime | None
    waiting: Waiting
    read_at: float = field(default_factory=time.time)

    @property
    def at_risk(self) -> int:
        """Number of paid results that are neither in the bucket nor in the lifeboat."""
        return sum(row.at_risk for row in self.jobs)

    def ago(self, age_s: float | None) -> float | None:
        """The Unix time so many seconds before it was read; None for an unknown age."""
        return None if age_s is None else self.read_at - age_s


def read_overview(database: Session, settings: CallSettings) -> Overview:
    """Read the overview. Its queries may see slightly different moments."""
    jobs = database.execute(JOBS_UNDER_WAY).all()
    waits = database.execute(FIRST_IN_LINE).one()
    rest = database.execute(THE_REST).one()
    return Overview(
        jobs=jobs,
        held=database.execute(HELD).all(),
        accounts=database.execute(ACCOUNTS_AND_LIMITS).all(),
        workers=database.execute(WORKERS_HEARD).all(),
        first_in_line={p: wait for p, wait in zip(Priority, waits, strict=True) if wait is not None},
        calls={row.fate: row.calls for row in database.execute(CALLS)},
        overdue_s=max(rest.overdue_s or 0.0, 0.0),
        next_expiry_s=min((row.expiry_s for row in jobs if row.expiry_s is not None), default=None),
        dispatcher_leads=leader_exists(database),
        line_paused=rest.line_paused,
        stops=database.execute(OPEN_BREAKERS).all(),
        cut_off_workers=rest.cut_off_workers,
        missing_cutouts=missing_results.read_missing(database),
        day_spent=rest.day_spent or 0,
        unfinished_ingests=rest.unfinished_ingests,
        unfinished_actions=rest.unfinished_actions,
        oldest_action_s=rest.oldest_action_s,
        late_schedules=_count_late(database, settings),
        oldest_snapshot_s=_oldest_snapshot_s(database),
        outputs=read_backlog(database),
        soonest_key_expiry=soonest_expiry(database),
        waiting=read_waiting(database),
    )


def _count_late(session: Session, settings: CallSettings) -> dict[Lateness, int]:
    found = Counter(late.lateness for late in late_schedules(session, settings))
    return {lateness: found[lateness] for lateness in Lateness}


def _oldest_snapshot_s(session: Session) -> float:
    oldest = oldest_snapshot(session)
    return 0.0 if oldest is None else oldest.age_s


def _seconds(span: ColumnElement[Any]) -> ColumnElement[float]:
    return cast(extract("epoch", span), Double)


def _ago(moment: ColumnElement[Any]) -> ColumnElement[float]:
    return _seconds(func.now() - moment)


# Queue states that the dispatcher changes back to ready at `scheduled_at`.
AWAITED = (QueueState.DISPATCHED, QueueState.REUSING, QueueState.DELAYED)
READY = JOBS.c.queue_state == constant(QueueState.READY)
ON_ITS_WAY = JOBS.c.queue_state.in_([constant(queue_state) for queue_state in AWAITED])
# Paid results that are neither in the bucket nor in the lifeboat.
AT_RISK = and_(JOBS.c.result_expires_at.is_not(None), JOBS.c.lifeboat_key.is_(None))
PAID = (
    func.count().filter(AT_RISK).label("at_risk"),
    _seconds(func.min(JOBS.c.result_expires_at).filter(AT_RISK) - func.now()).label("expiry_s"),
    func.count(JOBS.c.lifeboat_key).label("in_lifeboat"),
)
NOT_PAID = (
    literal(0).label("at_risk"),
    cast(null(), Double).label("expiry_s"),
    literal(0).label("in_lifeboat"),
)


def _under_way(
    state: State, queue_state: ColumnElement[str], step: ColumnElement[str], *counted: ColumnElement[Any]
) -> Select[*tuple[Any, ...]]:
    kind = (constant(state).label("state"), queue_state.label("queue_state"), step.label("step"))
    return select(*kind, func.count().label("jobs"), *counted)


def _counted(which: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).select_from(JOBS).where(which).scalar_subquery()


# Each part has a partial index of its own. Only calls are blocked.
JOBS_UNDER_WAY = union_all(
    _under_way(State.QUEUED, constant(QueueState.READY), constant(Step.CALL), *NOT_PAID).where(
        READY, JOBS.c.step == constant(Step.CALL)
    ),
    _under_way(State.QUEUED, constant(QueueState.READY), constant(Step.COPY), *PAID).where(
        READY, JOBS.c.step == constant(Step.COPY)
    ),
    _under_way(State.QUEUED, JOBS.c.queue_state, JOBS.c.step, *PAID)
    .where(ON_ITS_WAY)
    .group_by(JOBS.c.queue_state, JOBS.c.step),
    _under_way(State.QUEUED, constant(QueueState.WAITING), constant(Step.CALL), *NOT_PAID).where(
        JOBS.c.queue_state == constant(QueueState.WAITING)
    ),
    _under_way(State.QUEUED, constant(QueueState.SOURCE_LIMIT), constant(Step.CALL), *NOT_PAID).where(
        JOBS.c.queue_state == constant(QueueState.SOURCE_LIMIT)
    ),
    select(
        constant(State.QUEUED).label("state"),
        constant(QueueState.BLOCKED).label("queue_state"),
        constant(Step.CALL).label("step"),
        (_counted(WAITS_FOR_ITS_BATCH) + _counted(IS_OVER_BUDGET)).label("jobs"),
        *NOT_PAID,
    ),
    _under_way(State.RUNNING, cast(literal(""), Text), JOBS.c.step, *PAID)
    .where(JOBS.c.state == constant(State.RUNNING))
    .group_by(JOBS.c.step),
)

IS_BLOCKED_BY_BATCH = func.count(JOBS.c.queue_state)
HELD = (
    select(JOBS.c.code, func.count().label("jobs"), IS_BLOCKED_BY_BATCH.label("blocked"))
    .where(JOBS.c.state == constant(State.HELD))
    .group_by(JOBS.c.code)
)


def _first(served: EligibleOwners, priority: Priority) -> ColumnElement[float]:
    """The longest wait among the producers' first jobs, without suspended producers."""
    queues, owners = served.queues, served.owners
    first = jobs_in_queues(queues).with_only_columns(JOBS.c.scheduled_at).limit(1)
    first_job = first.lateral(f"first_{priority.name}")
    waits = (
        select(_ago(func.min(first_job.c.scheduled_at)))
        .select_from(queues.join(owners, owners.c.owner == queues.c.owner).join(first_job, true()))
        .where(queues.c.priority == priority)
    )
    return waits.scalar_subquery()


SERVED = eligible_owners()
FIRST_IN_LINE = select(*(_first(SERVED, priority) for priority in Priority))

OUT = and_(ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN), ATTEMPTS.c.ended_at.is_(None))
OUTCOME = case((ATTEMPTS.c.lost_at.is_not(None), "lost"), (OUT, "out"), else_=ATTEMPTS.c.outcome)
CALLS = (
    select(OUTCOME.label("fate"), func.count().label("calls"))
    .where(ATTEMPTS.c.begun_at > func.now() - RECENT_CALLS)
    .group_by("fate")
)

ACCOUNTS_AND_LIMITS = select(
    ACCOUNTS.c.name,
    ACCOUNTS.c.pause_code,
    ACCOUNTS.c.credits,
    _ago(ACCOUNTS.c.credits_at).label("credits_age_s"),
    LIMITS.c.level,
    LIMITS.c.open_calls,
    LIMITS.c.waiting,
    LIMITS.c.calls_per_second,
    LIMITS.c.latency_seconds,
    func.coalesce(circuit_is_open(Limit), False).label("circuit_open"),
    _ago(LIMITS.c.seen_at).label("limit_age_s"),
).outerjoin_from(ACCOUNTS, LIMITS, LIMITS.c.account == ACCOUNTS.c.name)

OPEN_BREAKERS = select(BREAKER.c.kind, BREAKER.c.host, BREAKER.c.code).where(BREAKER.c.opened_at.is_not(None))

# A worker restarted in its container has the host and pid of the one before.
WORKERS_HEARD = (
    select(WORKERS.c.host, WORKERS.c.pid, _ago(func.max(WORKERS.c.heartbeat_at)).label("heartbeat_age_s"))
    .where(WORKERS.c.left_at.is_(None), WORKERS.c.heartbeat_at > func.now() - RECENT_WORKERS)
    .group_by(WORKERS.c.host, WORKERS.c.pid)
)

TODAY = cast(func.timezone("UTC", func.now()), SPENDING.c.day.type)
THE_REST = select(
    select(QUEUE_CLOCK.c.id).where(QUEUE_CLOCK.c.paused_at.is_not(None)).exists().label("line_paused"),
    select(func.count()).select_from(WORKERS).where(IS_CUT_OFF).scalar_subquery().label("cut_off_workers"),
    select(SPENDING.c.spent).where(SPENDING.c.day == TODAY).scalar_subquery().label("day_spent"),
    select(func.count())
    .select_from(INGESTS)
    .where(INGESTS.c.finished_at.is_(None))
    .scalar_subquery()
    .label("unfinished_ingests"),
    select(func.count())
    .select_from(ACTIONS)
    .where(ACTIONS.c.finished_at.is_(None))
    .scalar_subquery()
    .label("unfinished_actions"),
    select(_ago(func.min(ACTIONS.c.requested_at)))
    .where(ACTIONS.c.finished_at.is_(None))
    .scalar_subquery()
    .label("oldest_action_s"),
    func.greatest(
        *(
            select(_ago(func.min(JOBS.c.scheduled_at)))
            .where(JOBS.c.queue_state == constant(queue_state))
            .scalar_subquery()
            for queue_state in AWAITED
        )
    ).label("overdue_s"),
)
