"""Classification of receivers' responses: delivered, retried after a delay, or given up."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from cutout.network import EgressUnavailable, FetchError, UrlRefused
from worker.webhooks.post import WebhookResponse

# Delays between the tries; the last one repeats.
DELAYS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
JITTER = 0.2
MOST_RETRY_AFTER_S = 3600.0
LONGEST_REASON = 200

# These statuses concern the receiver as a whole, not this message.
OVERLOADED = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Delivered if there is no `reason`. Otherwise it is sent again after `delay`; given up without one.

    `failing`: the receiver does not answer, or answers that it is overloaded, so its other messages wait as
    well; None if it was not contacted. `egress_away`: our own proxy is at fault, or may be, so the try says
    nothing of the receiver.
    """

    status: int | None
    reason: str | None = None
    delay: timedelta | None = None
    failing: bool | None = False
    egress_away: bool = False


def classify(response: WebhookResponse | FetchError, tries: int) -> DeliveryResult:
    """The result of try number `tries`, the first being 1."""
    match response:
        case UrlRefused():
            return DeliveryResult(None, _printable(str(response)), failing=None)
        case EgressUnavailable():
            reason = _printable(str(response))
            return DeliveryResult(None, reason, _delay(tries), failing=None, egress_away=True)
        case FetchError():
            return DeliveryResult(None, _printable(str(response)), _delay(tries), failing=True)
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryResult(status)
    if status == HTTPStatus.GONE:
        return DeliveryResult(status, "answered 410: the receiver does not want this message")
    reason = f"answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        reason += ", a redirect, which is not followed; use the address that it leads to"
    delay = max(_delay(tries), _retry_after(response.retry_after))
    return DeliveryResult(status, reason, delay, failing=status in OVERLOADED)


def _delay(tries: int) -> timedelta:
    seconds = DELAYS_S[min(tries, len(DELAYS_S)) - 1]
    return timedelta(seconds=seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load


def _retry_after(header: str | None) -> timedelta:
    """The delay that Retry-After asks for, an hour at most; zero if it cannot be read."""
    value = (header or "").strip()[:40]
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return timedelta(0)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), MOST_RETRY_AFTER_S))


def _printable(reason: str) -> str:
    """Cut the reason and replace what cannot be printed: parts of it may be a receiver's own text."""
    return "".join(c if c.isprintable() else "?" for c in reason[:LONGEST_REASON])
