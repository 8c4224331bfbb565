"""Trouble: what waits for a person, by reason, and what it may have cost."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from console.changes.notice import read_notice
from console.pages import Asked, screen
from console.remedies import remedy_of
from console.screens.batch_rows import IS_OPEN, BatchRow, counted, read_rows
from console.screens.operators import require_operator
from console.screens.router import screen_router
from console.screens.unsaved_results import unsaved_results
from console.viewer import Viewer
from console.views import View
from cutout.actions.held import MOST_AT_ONCE, WAITS_FOR_A_PERSON
from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import AttemptOutcome, DeliveryState, QueueState, State, Step, Stop
from cutout.models import (
    ACCOUNTS,
    ATTEMPTS,
    BATCHES,
    BREAKER,
    DELIVERIES,
    JOBS,
    LIMITS,
    PRODUCERS,
    QUEUE_CLOCK,
    SCHEDULES,
    Limit,
    constant,
)
from cutout.monitoring.overview import AWAITED
from cutout.queue.blocks.conditions import AWAITS_APPROVAL
from cutout.schedules.lateness import LateSchedule, late_schedules
from cutout.status.call_rate import CallSettings
from cutout.status.producer_texts import text_for_producer
from cutout.status.stoppages import FETCH_REMEDY

router = screen_router()

A_PAGE = 50
# Held jobs that are read for the table, and deliveries that were given up.
MOST_HELD = 20_000
MOST_DELIVERIES = 100_000
MOST_BATCHES = 25
LATE_EVERY_S = 10.0

# Paid, and stored nowhere.
AT_RISK = and_(JOBS.c.result_expires_at.is_not(None), JOBS.c.lifeboat_key.is_(None))
# Parts of the jobs that may have a paid result; each has an index.
UNSAVED = (
    and_(JOBS.c.queue_state == constant(QueueState.READY), JOBS.c.step == constant(Step.COPY)),
    JOBS.c.queue_state.in_([constant(each) for each in AWAITED]),
    JOBS.c.state == constant(State.RUNNING),
    WAITS_FOR_A_PERSON,
)
BREAKERS = {
    Stop.BUCKET: ("The bucket takes no cutouts", "fix the bucket; calls resume by themselves"),
    Stop.RESULTS: ("Paid results cannot be fetched", FETCH_REMEDY),
    Stop.BACKLOG: ("Too many paid results wait for their copy", "find out why copies are slow"),
}


@dataclass(frozen=True, slots=True)
class HeldReason:
    """Held jobs of one code: since when the oldest exists, and the calls of them that may have been charged.

    `at_risk` of them have a paid result that is stored nowhere; the first expires at `expires_at`.
    """

    code: str
    jobs: int
    oldest_at: datetime
    message: str
    unknown: int
    at_risk: int
    expires_at: datetime | None
    remedy: str
    free: int

    @property
    def shown(self) -> int:
        """The number of jobs that a button takes at once."""
        return min(self.jobs, MOST_AT_ONCE)

    @property
    def credits(self) -> int:
        """The most credits that their release may cost."""
        return self.jobs - self.free


@dataclass(frozen=True, slots=True)
class Stopped:
    """A thing that stops calls: what, since when, why, when it is tried again, and what to do."""

    text: str
    since: datetime | None
    reason: str
    until: datetime | None
    remedy: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Webhooks of a producer that were given up."""

    producer_id: uuid.UUID | None
    producer: str | None
    deliveries: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Paid results that are stored nowhere but at the endpoint, and those that are in the lifeboat."""

    jobs: int
    expires_in_s: float | None
    in_lifeboat: int


@dataclass(frozen=True, slots=True)
class TroubledJob:
    """A job of a list of this screen."""

    id: uuid.UUID
    external_id: str | None
    state: str
    code: str | None
    message: str | None
    batch_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Seen:
    """The answers of the database."""

    held: Sequence[HeldReason]
    more_held: bool
    given_up: Sequence[GivenUp]
    approvals: Sequence[BatchRow]
    budgets: Sequence[BatchRow]
    stopped: Sequence[Stopped]
    own_schedules: frozenset[uuid.UUID]


@screen(router, "/console/trouble")
async def trouble(asked: Asked) -> View:
    """All that waits for a person, by reason, with what it may have cost."""
    console, viewer = asked.console, asked.viewer
    settings = CallSettings.of(console.handed.settings)
    seen = await asked.read(lambda connection: _look(connection, viewer))
    late = console.looks.look(("late",), lambda engine: _late(engine, settings), every_s=LATE_EVERY_S)
    found = [
        each for each in late.value or () if viewer.is_operator or each.schedule_id in seen.own_schedules
    ]
    values: dict[str, Any] = {
        "seen": seen,
        "approvals": await counted(asked, seen.approvals),
        "budgets": await counted(asked, seen.budgets),
        "late": late,
        "late_schedules": found,
        "at_risk": None,
        "processes": [],
        "most_held": MOST_HELD,
        "most_batches": MOST_BATCHES,
        "most_deliveries": MOST_DELIVERIES,
        "base_url": asked.base_url,
        "notice": await read_notice(asked, "/console/trouble"),
    }
    as_of = None
    if viewer.is_operator:
        answer = await console.installation()
        state, as_of = answer.value, answer.at
        overview = state.overview
        at_risk = unsaved_results(overview, console.handed.settings.result_lifetime_seconds).late
        in_lifeboat = sum(row.in_lifeboat for row in overview.jobs)
        if at_risk or in_lifeboat:
            values["at_risk"] = AtRisk(at_risk, overview.next_expiry_s, in_lifeboat)
        values["processes"] = [
            check
            for check in state.checks
            if not check.ok and check.name in {"dispatcher", "worker", "cutouts"}
        ]
    values["nothing"] = not any(
        (
            seen.held,
            seen.given_up,
            seen.approvals,
            seen.budgets,
            seen.stopped,
            found,
            values["at_risk"],
            values["processes"],
        )
    )
    return View("trouble.html", "Trouble", values, as_of=as_of)


@screen(router, "/console/trouble/held")
async def held(asked: Asked) -> View:
    """The jobs that are held for one reason, in pages."""
    code = asked.text("code")
    which: list[ColumnElement[bool]] = [WAITS_FOR_A_PERSON]
    if code:
        which.append(JOBS.c.code == code)
    after = asked.after()
    if after is not None:
        which.append(JOBS.c.id > after)
    jobs = await asked.read(
        lambda connection: _jobs(connection, asked.viewer, and_(*which), JOBS.c.id, A_PAGE + 1)
    )
    values = {
        "jobs": jobs[:A_PAGE],
        "code": code,
        "after": after,
        "next": jobs[A_PAGE - 1].id if len(jobs) > A_PAGE else None,
    }
    return View("held.html", f"Held: {code}" if code else "Held", values)


@screen(router, "/console/trouble/at-risk")
async def at_risk(asked: Asked) -> View:
    """Paid results that are stored nowhere yet, the first to expire first."""
    require_operator(asked.viewer)
    jobs = await asked.read(_unsaved)
    return View(
        "at_risk.html", "Results at risk", {"jobs": jobs[:A_PAGE], "more": len(jobs) > A_PAGE, "most": A_PAGE}
    )


@screen(router, "/console/trouble/webhooks")
async def webhooks(asked: Asked) -> View:
    """Webhooks that were given up, with the last answer to each."""
    viewer, before = asked.viewer, asked.after()
    producer_id = viewer.producer_id
    if viewer.is_operator and asked.text("producer"):
        try:
            producer_id = uuid.UUID(asked.text("producer"))
        except ValueError:
            producer_id = None

    def look(connection: Connection) -> list[Any]:
        columns = [
            DELIVERIES.c[name]
            for name in (
                "id",
                "type",
                "host",
                "last_status",
                "last_error",
                "created_at",
                "finished_at",
                "tries",
            )
        ]
        which = [DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP)]
        if producer_id is not None:
            which.append(DELIVERIES.c.producer_id == producer_id)
        if before is not None:
            which.append(DELIVERIES.c.id < before)
        found = select(*columns).where(*which).order_by(DELIVERIES.c.id.desc()).limit(A_PAGE + 1)
        return [
            {**row, "last_error": _shown(row["last_error"], viewer)}
            for row in connection.execute(found).mappings()
        ]

    found = await asked.read(look)
    values = {
        "notice": await read_notice(asked, "/console/trouble/webhooks"),
        "deliveries": found[:A_PAGE],
        "producer": producer_id if viewer.is_operator else None,
        "after": before,
        "next": found[A_PAGE - 1]["id"] if len(found) > A_PAGE else None,
        "base_url": asked.base_url,
    }
    return View("given_up.html", "Webhooks given up", values)


def _look(connection: Connection, viewer: Viewer) -> Seen:
    reasons = _held(connection, viewer)
    is_spent = and_(BATCHES.c.budget.is_not(None), BATCHES.c.spent >= BATCHES.c.budget, IS_OPEN)
    waits = and_(AWAITS_APPROVAL, BATCHES.c.cancelled_at.is_(None), IS_OPEN)
    return Seen(
        held=reasons,
        more_held=sum(reason.jobs for reason in reasons) >= MOST_HELD,
        given_up=_given_up(connection, viewer),
        approvals=read_rows(connection, viewer, waits, limit=MOST_BATCHES),
        budgets=read_rows(connection, viewer, is_spent, limit=MOST_BATCHES),
        stopped=_stopped(connection, viewer),
        own_schedules=frozenset()
        if viewer.is_operator
        else frozenset(
            connection.scalars(select(SCHEDULES.c.id).where(SCHEDULES.c.producer_id == viewer.producer_id))
        ),
    )


def _own(viewer: Viewer) -> list[ColumnElement[bool]]:
    return [] if viewer.is_operator else [JOBS.c.producer_id == viewer.producer_id]


def _held(connection: Connection, viewer: Viewer) -> list[HeldReason]:
    """The reasons of held jobs, those with the oldest job first."""
    names = ("id", "code", "message", "created_at", "result_expires_at", "lifeboat_key")
    read = (
        select(*(JOBS.c[name] for name in names))
        .where(WAITS_FOR_A_PERSON, *_own(viewer))
        .limit(MOST_HELD)
        .subquery("read")
    )
    unknown = (
        select(func.count().label("calls"))
        .where(
            ATTEMPTS.c.job_id == read.c.id,
            ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
            ATTEMPTS.c.ended_at.is_not(None),
        )
        .lateral("unknown")
    )
    is_at_risk = and_(read.c.result_expires_at.is_not(None), read.c.lifeboat_key.is_(None))
    rows = connection.execute(
        select(
            read.c.code,
            func.count().label("jobs"),
            func.min(read.c.created_at).label("oldest_at"),
            func.min(read.c.message).label("message"),
            func.sum(unknown.c.calls).label("unknown"),
            func.count().filter(is_at_risk).label("at_risk"),
            func.count()
            .filter(or_(read.c.result_expires_at > func.now(), read.c.lifeboat_key.is_not(None)))
            .label("free"),
            func.min(read.c.result_expires_at).filter(is_at_risk).label("expires_at"),
        )
        .join_from(read, unknown, true())
        .group_by(read.c.code)
        .order_by(func.min(read.c.created_at))
    )
    return [
        HeldReason(
            row.code or "",
            row.jobs,
            row.oldest_at,
            _shown(row.message, viewer),
            int(row.unknown),
            row.at_risk,
            row.expires_at,
            _shown(remedy_of(row.code or ""), viewer),
            row.free,
        )
        for row in rows
    ]


def _given_up(connection: Connection, viewer: Viewer) -> list[GivenUp]:
    which = [DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP)]
    if not viewer.is_operator:
        which.append(DELIVERIES.c.producer_id == viewer.producer_id)
    columns = DELIVERIES.c.producer_id, DELIVERIES.c.created_at
    read = select(*columns).where(*which).limit(MOST_DELIVERIES).subquery("read")
    by_producer = (
        select(
            read.c.producer_id,
            func.count().label("deliveries"),
            func.min(read.c.created_at).label("oldest_at"),
        )
        .group_by(read.c.producer_id)
        .subquery("by_producer")
    )
    rows = connection.execute(
        select(by_producer, PRODUCERS.c.name)
        .outerjoin(PRODUCERS, PRODUCERS.c.id == by_producer.c.producer_id)
        .order_by(by_producer.c.deliveries.desc())
        .limit(A_PAGE)
    )
    return [GivenUp(row.producer_id, row.name, row.deliveries, row.oldest_at) for row in rows]


def _stopped(connection: Connection, viewer: Viewer) -> list[Stopped]:
    """Reasons that stop the calls of all producers; these hear only that calls are paused."""
    paused_at = connection.scalar(select(QUEUE_CLOCK.c.paused_at))
    found = []
    if paused_at is not None:
        remedy = "“Limit” has the button that ends it" if viewer.is_operator else ""
        found.append(Stopped("All calls are paused by an operator", paused_at, "", None, remedy))
    if not viewer.is_operator:
        return found
    for row in connection.execute(select(BREAKER).where(BREAKER.c.opened_at.is_not(None))):
        text, remedy = BREAKERS[Stop(row.kind)]
        found.append(Stopped(text, row.opened_at, row.reason, row.probe_at, remedy))
    for row in connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.paused_at.is_not(None))):
        reason = f"{row.pause_code}: {row.pause_message}"
        remedy = "it is asked again by itself; see `cutout limits`"
        found.append(
            Stopped(f"The account {row.name} is paused", row.paused_at, reason, row.probe_at, remedy)
        )
    circuits = select(LIMITS.c.account, LIMITS.c.circuit_until).where(circuit_is_open(Limit))
    for row in connection.execute(circuits):
        text = f"The endpoint fails for all jobs of the account {row.account}"
        found.append(Stopped(text, None, "", row.circuit_until, "it is probed by itself; see “Limit”"))
    return found


def _late(engine: Engine, settings: CallSettings) -> list[LateSchedule]:
    with Session(engine) as session:
        return late_schedules(session, settings)


def _jobs(
    connection: Connection, viewer: Viewer, which: ColumnElement[bool], order: ColumnElement[Any], limit: int
) -> list[TroubledJob]:
    names = ("id", "external_id", "state", "code", "message", "batch_id", "created_at", "result_expires_at")
    found = select(*(JOBS.c[name] for name in names)).where(which, *_own(viewer)).order_by(order).limit(limit)
    return [
        TroubledJob(row[0], row[1], row[2], row[3], _shown(row[4], viewer), *row[5:])
        for row in connection.execute(found)
    ]


def _unsaved(connection: Connection) -> list[TroubledJob]:
    names = ("id", "external_id", "state", "code", "message", "batch_id", "created_at", "result_expires_at")
    columns = [JOBS.c[name] for name in names]
    parts = [
        select(*columns).where(part, AT_RISK).order_by(JOBS.c.result_expires_at).limit(A_PAGE + 1).subquery()
        for part in UNSAVED
    ]
    both = union_all(*(select(part) for part in parts)).subquery()
    found = select(both).order_by(both.c.result_expires_at).limit(A_PAGE + 1)
    return [TroubledJob(*row) for row in connection.execute(found)]


def _shown(text: str | None, viewer: Viewer) -> str:
    return (text or "") if viewer.is_operator else text_for_producer(text or "")
