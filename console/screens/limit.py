"""Limit: what each account may do now and does, and the calls of the last hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, false, func, select

from console.background import Aged
from console.changes.notice import read_notice
from console.console import Console
from console.pages import Asked, screen
from console.screens.last_hour import EVERY_S, MINUTES, chart_hour
from console.screens.operators import require_operator
from console.screens.router import screen_router
from console.views import View
from cutout.billing.accounts import credits_left
from cutout.billing.learned_limits import circuit_is_open
from cutout.billing.recent_calls import (
    MinuteOfCalls,
    SlowAnswer,
    calls_by_minute,
    slow_answers,
    slow_codes,
)
from cutout.models import ACCOUNTS, LIMITS, QUEUE_CLOCK, Limit
from cutout.settings import AUTO

router = screen_router()

# The leader writes each second; older figures are of one that is gone.
STALE_S = 10.0


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account and its limit; figures are None before its first call."""

    name: str
    paused_at: datetime | None
    pause_code: str | None
    pause_message: str | None
    probe_at: datetime | None
    credits_at: datetime | None
    level: float | None
    top: float | None
    open_calls: int | None
    waiting: int | None
    calls_per_second: float | None
    latency_seconds: float | None
    slow_at: datetime | None
    rests_until: datetime | None
    circuit_until: datetime | None
    seen_at: datetime | None
    circuit_open: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """Answers that calls come too fast and the credits left by account, and the calls of each minute."""

    slow: dict[str, Sequence[SlowAnswer]]
    credits: dict[str, float | None]
    minutes: Sequence[MinuteOfCalls]


@screen(router, "/console/limit")
async def limit(asked: Asked) -> View:
    """Calls that may go out, those that do, and the endpoint's answers that they come too fast."""
    require_operator(asked.viewer)
    settings = asked.console.handed.settings
    recent = recent_calls(asked.console)
    rows, paused_at = await asked.read(_look)
    minutes = recent.value.minutes if recent.value else ()
    values: dict[str, Any] = {
        "rows": rows,
        "paused_at": paused_at,
        "notice": await read_notice(asked, "/console/limit"),
        "recent": recent,
        "hour": chart_hour(minutes, "calls"),
        "ceilings": (_ceiling(settings.calls_per_second), _ceiling(settings.calls_in_flight)),
        "stale_s": STALE_S,
        "base_url": asked.base_url,
    }
    return View("limit.html", "Limit", values)


def recent_calls(console: Console) -> Aged[Recent]:
    """The calls of the last hour, for all operators together."""
    codes = slow_codes(console.handed.settings.verdicts)
    return console.looks.look(("limit",), lambda engine: _recent(engine, codes), every_s=EVERY_S)


def _look(connection: Connection) -> tuple[list[AccountRow], datetime | None]:
    names = [name for name in AccountRow.__dataclass_fields__ if name != "circuit_open"]
    columns: list[Any] = [(ACCOUNTS if name in ACCOUNTS.c else LIMITS).c[name] for name in names]
    found: Select[*tuple[Any, ...]] = (
        select(*columns, func.coalesce(circuit_is_open(Limit), false()))
        .outerjoin_from(ACCOUNTS, LIMITS, LIMITS.c.account == ACCOUNTS.c.name)
        .order_by(ACCOUNTS.c.name)
    )
    rows = [AccountRow(*row) for row in connection.execute(found)]
    return rows, connection.scalar(select(QUEUE_CLOCK.c.paused_at))


def _recent(engine: Engine, codes: Sequence[str]) -> Recent:
    with engine.connect() as connection:
        names = list(connection.scalars(select(ACCOUNTS.c.name)))
        return Recent(
            {name: slow_answers(connection, name, codes) for name in names},
            {name: credits_left(connection, name) for name in names},
            calls_by_minute(connection, codes, MINUTES),
        )


def _ceiling(value: float | None) -> str:
    return AUTO if value is None else f"{value:g}"
