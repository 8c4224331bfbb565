"""Webhooks verified as Standard Webhooks has them."""

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cutout_client.errors import WebhookError

TOLERANCE_S = 300.0
WHSEC = "whsec_"
VERSION = "v1,"


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A verified message. It may come again under the same `id`, which you keep to know that."""

    id: str
    type: str
    timestamp: str
    data: Mapping[str, Any]
    raw: Mapping[str, Any]


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes | str,
    secrets: str | Iterable[str],
    tolerance: float = TOLERANCE_S,
) -> WebhookMessage:
    """Verify a message with one of these secrets (`whsec_…`), by its body as it came.

    `tolerance` is how many seconds its time may be from now. Raises WebhookError, and ValueError for a
    secret that is none.
    """
    content = body.encode() if isinstance(body, str) else bytes(body)
    keys = [_key_of(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not keys:
        raise ValueError("there is no secret to verify with")
    by_name = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = _header(by_name, "webhook-id"), _header(by_name, "webhook-timestamp")
    signatures = _header(by_name, "webhook-signature")
    if not sent_at.isascii() or not sent_at.isdigit() or abs(time.time() - int(sent_at)) > tolerance:
        raise WebhookError(
            f"the message is of {sent_at[:20]!r}, not of the last {tolerance:g} s; see the clock"
        )
    signed = f"{message_id}.{sent_at}.".encode() + content
    if not _is_signed(signed, keys, signatures):
        raise WebhookError("the message has no signature of these secrets")
    return _message(message_id, content)


def _is_signed(signed: bytes, keys: list[bytes], signatures: str) -> bool:
    given = [each.removeprefix(VERSION) for each in signatures.split() if each.startswith(VERSION)]
    found = False
    for key in keys:
        right = b64encode(hmac.digest(key, signed, hashlib.sha256))
        for each in given:
            found |= hmac.compare_digest(right, each.encode(errors="replace"))
    return found


def _key_of(secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(WHSEC), validate=True)
    except (Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ and then base64; copy it whole")
    return key


def _header(by_name: Mapping[str, str], name: str) -> str:
    value = by_name.get(name)
    if not value:
        raise WebhookError(f"the message has no header {name}")
    return value


def _message(message_id: str, content: bytes) -> WebhookMessage:
    try:
        raw = json.loads(content)
        return WebhookMessage(message_id, raw["type"], raw["timestamp"], raw["data"], raw)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WebhookError(f"the message is signed, but none of cutout: {error!r}"[:200]) from None
