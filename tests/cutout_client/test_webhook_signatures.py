"""Webhook messages, signed by the library that the dispatcher uses, verified by the client."""

import json
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from cutout_client import WebhookError, verify_webhook

SECRETS = ["whsec_" + b64encode(bytes([n] * 32)).decode() for n in range(1, 4)]
BODY = json.dumps({"type": "job.failed", "timestamp": "2026-11-26T18:22:08+00:00", "data": {"id": "ü"}})


def signed(*secrets: str, body: str = BODY, age_s: float = 0.0) -> dict[str, str]:
    """Headers of a message that these secrets sign, so old."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    signatures = [Webhook(secret).sign("msg_1", at, body) for secret in secrets]
    return {
        "Webhook-Id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "WEBHOOK-SIGNATURE": " ".join(signatures),
    }


@pytest.mark.parametrize(
    "secrets", [SECRETS[0], SECRETS[:1], SECRETS[::-1], [SECRETS[0].removeprefix("whsec_")]]
)
@pytest.mark.parametrize("body", [BODY, BODY.encode()])
def test_a_message_of_a_secret_is_taken(secrets: Any, body: Any) -> None:
    """As text or bytes, by one secret or several."""
    message = verify_webhook(signed(SECRETS[0]), body, secrets)
    assert (message.id, message.type, message.data) == ("msg_1", "job.failed", {"id": "ü"})
    assert message.raw["timestamp"] == message.timestamp


def test_a_message_that_two_secrets_sign_is_taken_by_either() -> None:
    """While a secret is rotated."""
    headers = signed(*SECRETS[:2])
    assert all(verify_webhook(headers, BODY, secret).id for secret in SECRETS[:2])
    headers["WEBHOOK-SIGNATURE"] = "v1a,abc v2,def " + headers["WEBHOOK-SIGNATURE"]
    assert verify_webhook(headers, BODY, SECRETS[1]).id
    with pytest.raises(WebhookError, match="no signature of these secrets"):
        verify_webhook(headers, BODY, SECRETS[2])


LATER = "a second later"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, BODY + " "),
        ({"Webhook-Id": "msg_2"}, BODY),
        ({"webhook-timestamp": LATER}, BODY),
        ({"WEBHOOK-SIGNATURE": "v1,"}, BODY),
        ({"WEBHOOK-SIGNATURE": "v1,ü v1,\ud800"}, BODY),
        ({"WEBHOOK-SIGNATURE": "v2,abc"}, BODY),
    ],
)
def test_a_message_that_was_changed_is_refused(changes: dict[str, str], body: str) -> None:
    """Each part is signed."""
    # Not when the tests are collected, which may be an hour before.
    changes = {name: str(int(time.time()) + 1) if text == LATER else text for name, text in changes.items()}
    headers = signed(SECRETS[0], age_s=2) | changes
    with pytest.raises(WebhookError, match="no signature"):
        verify_webhook(headers, body, SECRETS)


@pytest.mark.parametrize("name", ["Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE"])
def test_a_message_without_a_header_is_refused(name: str) -> None:
    """Or with an empty one."""
    for headers in (
        signed(SECRETS[0]) | {name: ""},
        {k: v for k, v in signed(SECRETS[0]).items() if k != name},
    ):
        with pytest.raises(WebhookError, match=f"no header {name.lower()}"):
            verify_webhook(headers, BODY, SECRETS)


@pytest.mark.parametrize("age_s", [301, -302, 10**9])
def test_a_message_of_another_time_is_refused(age_s: float) -> None:
    """One that was recorded is not taken a second time; the tolerance is yours."""
    with pytest.raises(WebhookError, match="not of the last 300 s"):
        verify_webhook(signed(SECRETS[0], age_s=age_s), BODY, SECRETS)
    assert verify_webhook(signed(SECRETS[0], age_s=age_s), BODY, SECRETS, tolerance=2e9).id


@pytest.mark.parametrize("at", ["now", "-1", "1e9", "٣", "1.5"])
def test_a_time_that_is_none_is_refused(at: str) -> None:
    """Digits alone."""
    with pytest.raises(WebhookError):
        verify_webhook(signed(SECRETS[0]) | {"webhook-timestamp": at}, BODY, SECRETS)


@pytest.mark.parametrize("secrets", [[], "", "whsec_", "whsec_???", ["whsec_", SECRETS[0]]])
def test_a_secret_that_is_none_is_the_callers_mistake(secrets: Any) -> None:
    """An empty key would be anybody's."""
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(signed(SECRETS[0]), BODY, secrets)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"type": 1}'])
def test_a_signed_body_that_is_no_message_is_refused(body: str) -> None:
    """Of another sender that has the secret."""
    with pytest.raises(WebhookError, match="none of cutout"):
        verify_webhook(signed(SECRETS[0], body=body), body, SECRETS)
