"""Money: the ledger by day, batch or producer, what may have been charged, and the endpoint's balance."""

import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Date, Engine, cast, func, select

from console.charts import Chart, Column, chart
from console.pages import Asked, screen
from console.screens.router import screen_router
from console.views import View
from cutout.billing.reconcile import Comparison, Reading, calls_between, compare, in_credits
from cutout.billing.totals import DOLLARS_A_CREDIT, Totals, by_batch, by_day, by_producer
from cutout.enums import AttemptOutcome
from cutout.models import ACCOUNTS, ATTEMPTS, JOBS, SPENDING, CreditReading, constant

router = screen_router()

# Adding the ledger up reads all calls and jobs: 2 to 3 s for 10^6.
EVERY_S = 300.0
DAYS = 30
MOST_ROWS = 200
MOST_BARS = 40
MOST_UNKNOWN = 100


class By(StrEnum):
    """Sums of the table."""

    DAY = "day"
    BATCH = "batch"
    PRODUCER = "producer"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; `href` leads to its jobs."""

    name: str
    totals: Totals
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """The table, and whether there were more lines than MOST_ROWS."""

    rows: Sequence[Row]
    more: bool


@dataclass(frozen=True, slots=True)
class DayBudget:
    """Credits of the present day (UTC), spent and allowed."""

    spent: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """An account's last two readings, and the comparison of the ledger with them; None with only one."""

    account: str
    later: Reading
    earlier: Reading | None
    comparison: Comparison | None

    @property
    def balance(self) -> str:
        return in_credits(self.later.balance)

    @property
    def spent(self) -> str:
        return in_credits(self.comparison.spent) if self.comparison else ""


@dataclass(frozen=True, slots=True)
class UnknownCall:
    """A call that may have been charged, and its job."""

    job_id: uuid.UUID
    external_id: str | None
    number: int
    account: str
    begun_at: datetime
    unknown_at: datetime
    code: str | None
    message: str | None


@screen(router, "/console/money")
async def money(asked: Asked) -> View:
    """Credits that were charged, that may have been, and that reuse saved."""
    viewer = asked.viewer
    by = asked.choice("by", By) or By.DAY
    if by is By.PRODUCER and not viewer.is_operator:
        by = By.DAY
    sums = asked.console.sums.look(
        ("money", by, viewer.producer_id),
        _sums(by, viewer.producer_id),
        every_s=EVERY_S,
        of=viewer.producer_id,
    )
    values: dict[str, Any] = {
        "by": by,
        "choices": [each for each in By if viewer.is_operator or each is not By.PRODUCER],
        "sums": sums,
        "columns": ("begun", "charged", "not_charged", "unknown", "out", "lost", "saved"),
        "chart": None if sums.value is None else _chart(sums.value.rows, by),
        "whole": None if sums.value is None else _whole(sums.value.rows),
        "dollars": DOLLARS_A_CREDIT,
        "days": DAYS,
        "most_rows": MOST_ROWS,
        "every_s": EVERY_S,
        "budget": None,
        "reconciled": None,
        "base_url": asked.base_url,
    }
    if viewer.is_operator:
        allowed = asked.console.handed.settings.day_budget
        if allowed is not None:
            values["budget"] = DayBudget(await asked.read(_spent_today), allowed)
        values["reconciled"] = asked.console.sums.look(("reconcile",), _reconciled, every_s=EVERY_S)
    return View("money.html", "Money", values)


@screen(router, "/console/money/unknown")
async def unknown(asked: Asked) -> View:
    """The calls that may have been charged, each with its job."""
    calls = await asked.read(lambda connection: unknown_calls(connection, asked.viewer.producer_id))
    values = {
        "calls": calls[:MOST_UNKNOWN],
        "more": len(calls) > MOST_UNKNOWN,
        "most": MOST_UNKNOWN,
    }
    return View("unknown_calls.html", "Calls of unknown cost", values)


def unknown_calls(connection: Connection, producer_id: uuid.UUID | None) -> list[UnknownCall]:
    """The latest calls that were given up without an answer, MOST_UNKNOWN and one more."""
    columns = [ATTEMPTS.c[n] for n in ("number", "account", "begun_at", "unknown_at", "code", "message")]
    found = (
        select(JOBS.c.id, JOBS.c.external_id, *columns)
        .join_from(ATTEMPTS, JOBS, JOBS.c.id == ATTEMPTS.c.job_id)
        # The index of calls in doubt, which are few.
        .where(
            ATTEMPTS.c.unknown_at.is_not(None),
            ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
            ATTEMPTS.c.ended_at.is_not(None),
        )
        .order_by(ATTEMPTS.c.unknown_at.desc())
        .limit(MOST_UNKNOWN + 1)
    )
    if producer_id is not None:
        found = found.where(JOBS.c.producer_id == producer_id)
    return [UnknownCall(*row) for row in connection.execute(found)]


def _sums(by: By, producer_id: uuid.UUID | None) -> Callable[[Engine], Sums]:
    def add_up(engine: Engine) -> Sums:
        with engine.connect() as connection, closing(_rows(connection, by, producer_id)) as found:
            rows = list(islice(found, MOST_ROWS + 1))
        return Sums(rows[:MOST_ROWS], more=len(rows) > MOST_ROWS)

    return add_up


def _rows(connection: Connection, by: By, producer_id: uuid.UUID | None) -> Generator[Row, None, None]:
    if by is By.DAY:
        for day in by_day(connection, DAYS, producer_id=producer_id):
            yield Row(day.day.isoformat(), day.totals)
    elif by is By.BATCH:
        with closing(by_batch(connection, producer_id=producer_id)) as batches:
            for batch in batches:
                href = f"/console/batches/{batch.batch_id}" if batch.batch_id else None
                name = batch.name or ("without a name" if href else "jobs without a batch")
                yield Row(name, batch.totals, href)
    else:
        with closing(by_producer(connection)) as producers:
            for producer in producers:
                yield Row(producer.name or "without a producer", producer.totals)


def _chart(rows: Sequence[Row], by: By) -> Chart | None:
    """Credits of each line; days and batches from old to new."""
    shown = list(rows[:MOST_BARS]) if by is By.PRODUCER else list(reversed(rows[:MOST_BARS]))
    columns = [
        Column(
            (("charged", row.totals.charged), ("unknown", row.totals.unknown)),
            f"{row.name}: {row.totals.charged:,} charged, {row.totals.unknown:,} unknown",
        )
        for row in shown
    ]
    found = chart(columns)
    return found if found.bars else None


def _whole(rows: Sequence[Row]) -> Totals:
    names = Totals.__dataclass_fields__
    return Totals(**{name: sum(getattr(row.totals, name) for row in rows) for name in names})


def _spent_today(connection: Connection) -> int:
    today = cast(func.timezone("UTC", func.now()), Date)
    return connection.scalar(select(SPENDING.c.spent).where(SPENDING.c.day == today)) or 0


def _reconciled(engine: Engine) -> list[Reconciled]:
    with engine.connect() as connection:
        names = list(connection.scalars(select(ACCOUNTS.c.name).order_by(ACCOUNTS.c.name)))
        found = [_compared(connection, name) for name in names]
    return [each for each in found if each is not None]


def _compared(connection: Connection, account: str) -> Reconciled | None:
    rows = connection.execute(
        select(CreditReading.account, CreditReading.read_at, CreditReading.balance)
        .where(CreditReading.account == account)
        .order_by(CreditReading.read_at.desc(), CreditReading.id.desc())
        .limit(2)
    ).all()
    if not rows:
        return None
    later = Reading(*rows[0])
    if len(rows) == 1:
        return Reconciled(account, later, None, None)
    earlier = Reading(*rows[1])
    calls = calls_between(connection, earlier, later)
    return Reconciled(account, later, earlier, compare(earlier.balance, later.balance, calls))
