"""The accounts' recent calls: how many in each minute, and the last answers that calls come too fast."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Interval, bindparam, select, text

from cutout.endpoint.verdicts import VERDICTS, Policies, Verdict
from cutout.models import Attempt
from cutout.models.database import Database

SLOW_SHOWN = 5
# So many of the last calls are looked at for slow answers.
CALLS_LOOKED_AT = 10_000
NO_CODE = "HTTP_429"

# Minutes without a call are in it. By the index of the ledger on `begun_at`.
BY_MINUTE = text("""
    WITH span AS (SELECT date_trunc('minute', now()) AS last),
    calls AS (
        SELECT date_trunc('minute', begun_at) AS minute, count(*) AS begun,
            count(*) FILTER (WHERE code = ANY (:slow)) AS slow
        FROM attempts
        WHERE begun_at >= (SELECT last FROM span) - :span
        GROUP BY 1
    )
    SELECT minute, coalesce(begun, 0) AS begun, coalesce(slow, 0) AS slow
    FROM span, generate_series(last - :span, last, '1 minute') AS minute LEFT JOIN calls USING (minute)
    ORDER BY minute
""").bindparams(bindparam("span", type_=Interval))


@dataclass(frozen=True, slots=True)
class SlowAnswer:
    """An answer of the endpoint that calls come too fast."""

    at: datetime
    code: str
    message: str | None


@dataclass(frozen=True, slots=True)
class MinuteOfCalls:
    """A minute, the calls begun in it, and how many of these were answered that they come too fast."""

    minute: datetime
    begun: int
    slow: int


def slow_codes(overrides: Mapping[str, Any]) -> list[str]:
    """The codes of such answers, by the table of verdicts and the setting CUTOUT_VERDICTS."""
    policies = Policies({code: override.model_dump() for code, override in overrides.items()})
    known = VERDICTS.keys() | overrides.keys()
    slow = [
        code
        for code in known
        if policies.of(code, VERDICTS.get(code, Verdict.UNKNOWN)).verdict is Verdict.SLOW
    ]
    return sorted({*slow, NO_CODE})


def slow_answers(database: Database, account: str, codes: Collection[str]) -> list[SlowAnswer]:
    """The last such answers to the account's last 10,000 calls, the newest first."""
    latest = (
        select(Attempt.begun_at, Attempt.code, Attempt.message)
        .where(Attempt.account == account)
        .order_by(Attempt.begun_at.desc())
        .limit(CALLS_LOOKED_AT)
        .subquery()
    )
    rows = database.execute(
        select(latest).where(latest.c.code.in_(codes)).order_by(latest.c.begun_at.desc()).limit(SLOW_SHOWN)
    )
    return [SlowAnswer(*row) for row in rows]


def calls_by_minute(database: Database, codes: Collection[str], minutes: int = 60) -> list[MinuteOfCalls]:
    """The minutes up to the present one, which is not over; the oldest first."""
    asked = {"slow": list(codes), "span": timedelta(minutes=minutes - 1)}
    return [MinuteOfCalls(*row) for row in database.execute(BY_MINUTE, asked)]
