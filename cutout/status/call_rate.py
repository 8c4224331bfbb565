"""The rate of calls that the accounts' limits allow, and the settings that restrict calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import InstrumentedAttribute

from cutout.billing.accounts import account_name
from cutout.models import Account, Limit
from cutout.models.database import Database
from cutout.settings import Settings


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Settings that decide how long jobs wait: the accounts' names, the rate's ceiling, the day's budget."""

    accounts: Sequence[str]
    calls_per_second: float | None = None
    day_budget: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take them from all settings. The API has no endpoint key: without accounts, all accounts count."""
        names = [account_name(key.get_secret_value()) for key in settings.endpoint_api_keys]
        return cls(names, settings.calls_per_second, settings.day_budget)


def calls_a_second(database: Database, accounts: Sequence[str], ceiling: float | None) -> float | None:
    """The calls a second that the limits of the unpaused accounts allow now; None while unknown."""
    rows = database.execute(
        select(Limit.level, Limit.latency_seconds)
        .join(Account, Account.name == Limit.account)
        .where(is_named(Limit.account, accounts), Account.paused_at.is_(None), Limit.latency_seconds > 0)
    ).all()
    rates = [row.level / row.latency_seconds for row in rows]
    return sum(min(rate, ceiling or rate) for rate in rates) or None


def is_named(column: InstrumentedAttribute[str], names: Sequence[str]) -> ColumnElement[bool]:
    """Whether the account's name is one of `names`; true for every account if there are none."""
    return column.in_(names) if names else true()
