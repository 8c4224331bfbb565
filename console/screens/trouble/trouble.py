"""Trouble: what waits for a person, by reason, and what it may have cost."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, select
from sqlalchemy.orm import Session

from console.changes.notice import read_notice
from console.pages import Asked, screen
from console.screens.batch_rows import IS_OPEN, BatchRow, counted, read_rows
from console.screens.router import screen_router
from console.screens.trouble.given_up_webhooks import MOST_DELIVERIES, GivenUp, given_up_webhooks
from console.screens.trouble.held_reasons import MOST_HELD, HeldReason, held_reasons
from console.screens.trouble.results_at_risk import results_at_risk
from console.screens.trouble.stopped_calls import Stopped, stopped_calls
from console.viewer import Viewer
from console.views import View
from cutout.models import BATCHES, SCHEDULES
from cutout.queue.blocks.conditions import AWAITS_APPROVAL
from cutout.schedules.lateness import LateSchedule, late_schedules
from cutout.status.call_rate import CallSettings

router = screen_router()

MOST_BATCHES = 25
LATE_EVERY_S = 10.0


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
    settings = console.handed.settings
    seen = await asked.read(lambda connection: _look(connection, viewer))
    calls = CallSettings.of(settings)
    late = console.looks.look(("late",), lambda engine: _late(engine, calls), every_s=LATE_EVERY_S)
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
        values["at_risk"] = results_at_risk(state.overview, settings.result_lifetime_seconds)
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


def _look(connection: Connection, viewer: Viewer) -> Seen:
    reasons = held_reasons(connection, viewer)
    is_spent = and_(BATCHES.c.budget.is_not(None), BATCHES.c.spent >= BATCHES.c.budget, IS_OPEN)
    waits = and_(AWAITS_APPROVAL, BATCHES.c.cancelled_at.is_(None), IS_OPEN)
    return Seen(
        held=reasons,
        more_held=sum(reason.jobs for reason in reasons) >= MOST_HELD,
        given_up=given_up_webhooks(connection, viewer),
        approvals=read_rows(connection, viewer, waits, limit=MOST_BATCHES),
        budgets=read_rows(connection, viewer, is_spent, limit=MOST_BATCHES),
        stopped=stopped_calls(connection, viewer),
        own_schedules=frozenset()
        if viewer.is_operator
        else frozenset(
            connection.scalars(select(SCHEDULES.c.id).where(SCHEDULES.c.producer_id == viewer.producer_id))
        ),
    )


def _late(engine: Engine, settings: CallSettings) -> list[LateSchedule]:
    with Session(engine) as session:
        return late_schedules(session, settings)
