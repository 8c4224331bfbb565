"""Posting of one message: signed, bounded in time and size, never to an internal address."""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime

import httpx
from standardwebhooks import Webhook

from cutout.network import (
    AddressPolicy,
    DeadlinePassed,
    GuardedTransport,
    HostList,
    Timeouts,
    Unreachable,
    UrlRefused,
    egress_proxy,
    port_of,
)
from cutout.status.producer_texts import payload_for_producer
from cutout.webhooks.outbox import Taken

DEADLINE_S = 10.0
TIMEOUTS = Timeouts(connect=5.0, write=DEADLINE_S, read=DEADLINE_S, total=DEADLINE_S)
# A response's body is read up to this size and discarded, so that the connection can be used again.
MOST_BODY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The receiver's response; `retry_after` is the header as it was sent."""

    status: int
    retry_after: str | None


class WebhookPoster:
    """Sends messages. One per thread. `private` are hosts allowed at private addresses and by plain http,
    and reached without the proxy.
    """

    def __init__(self, private: HostList, *, proxy: str | None = None) -> None:
        self._private = private
        self._transport = GuardedTransport(TIMEOUTS, policy=AddressPolicy(private), proxy=egress_proxy(proxy))

    def post(self, taken: Taken, secrets: Sequence[str]) -> WebhookResponse:
        """Send a message, signed with each of the secrets, within 10 s. Redirects are not followed.

        Raises UrlRefused, DeadlinePassed, Unreachable or EgressUnavailable, whose texts contain no path.
        """
        if taken.producer_id is not None:
            taken = replace(taken, payload=payload_for_producer(taken.payload))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "cutout",
            **signed_headers(taken, secrets),
        }
        request = httpx.Request("POST", self._checked(taken.url), content=taken.payload, headers=headers)
        try:
            response = self._transport.handle_request(request)
        except httpx.TimeoutException as error:
            raise DeadlinePassed(f"no answer within {DEADLINE_S:.0f} s: {error}") from error
        except httpx.TransportError as error:
            raise Unreachable(f"no answer: {error}") from error
        with closing(response):
            _discard_body(response)
            return WebhookResponse(response.status_code, response.headers.get("retry-after"))

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()

    def _checked(self, address: str) -> httpx.URL:
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, ValueError) as error:
            raise UrlRefused(f"its address is invalid: {type(error).__name__}") from None
        if url.scheme != "https" and not self._private.allows(url.host, port_of(url)):
            raise UrlRefused(
                f"{url.host} would be notified by plain http; use https, or name it in"
                " CUTOUT_WEBHOOK_PRIVATE_HOSTS"
            )
        return url


def signed_headers(taken: Taken, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature for each secret."""
    message = str(taken.id)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(taken.taken_at.timestamp())),
        "webhook-signature": " ".join(
            sign(secret, message, taken.taken_at, taken.payload) for secret in secrets
        ),
    }


def sign(secret: str, message: str, at: datetime, payload: str) -> str:
    """One signature of Standard Webhooks; `at` is in UTC."""
    return Webhook(secret).sign(message, at, payload)


def _discard_body(response: httpx.Response) -> None:
    remaining = MOST_BODY_BYTES
    # The status has arrived: an error in the body changes nothing.
    with suppress(httpx.TransportError):
        for part in response.iter_raw():
            remaining -= len(part)
            if remaining < 0:
                return
