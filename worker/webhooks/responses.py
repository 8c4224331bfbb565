"""What becomes of a message, by what its receiver answered."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from cutout.network import FetchError, UrlRefused
from worker.webhooks.post import Received

# The rests between the tries; the last one holds from then on.
RESTS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
JITTER = 0.2
MOST_RETRY_AFTER_S = 3600.0
LONGEST_REASON = 200

# Of these the receiver as a whole is ill, not this message.
OVERLOADED = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Delivered if there is no `reason`. Else it is sent again after `rest`, never without one.

    `ill`: the receiver does not answer or says that it cannot now, so the other messages for it wait as well;
    None if it was not asked.
    """

    status: int | None
    reason: str | None = None
    rest: timedelta | None = None
    ill: bool | None = False


def judge(answer: Received | FetchError, tries: int) -> Verdict:
    """The verdict on the try number `tries`, the first being 1."""
    match answer:
        case UrlRefused():
            return Verdict(None, _printable(str(answer)), ill=None)
        case FetchError():
            return Verdict(None, _printable(str(answer)), _rest(tries), ill=True)
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict(status)
    if status == HTTPStatus.GONE:
        return Verdict(status, "answered 410: the receiver wants no more of it")
    reason = f"answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        reason += ", which is not followed; give the address that it leads to"
    rest = max(_rest(tries), _asked_for(answer.retry_after))
    return Verdict(status, reason, rest, ill=status in OVERLOADED)


def _rest(tries: int) -> timedelta:
    seconds = RESTS_S[min(tries, len(RESTS_S)) - 1]
    return timedelta(seconds=seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load


def _asked_for(retry_after: str | None) -> timedelta:
    """What Retry-After asks for, an hour at most; nothing if it cannot be read."""
    asked = (retry_after or "").strip()[:40]
    if asked.isascii() and asked.isdigit():
        seconds = float(asked)
    else:
        try:
            at = parsedate_to_datetime(asked)
        except (ValueError, OverflowError):
            return timedelta(0)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), MOST_RETRY_AFTER_S))


def _printable(reason: str) -> str:
    """Parts of it may be a receiver's own words."""
    return "".join(c if c.isprintable() else "?" for c in reason[:LONGEST_REASON])
