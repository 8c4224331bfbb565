"""Telling producers' servers what became of their work: what is sent, to whom, and how it is signed.

Jobs and batches announce themselves, by triggers in the database; whatever else happens is announced by
`announce`. The dispatcher sends (`worker/webhooks`).
"""

from cutout.webhooks.deliveries import find_deliveries, replay
from cutout.webhooks.outbox import announce
from cutout.webhooks.secrets import INSTALLATION, rotate, secret_of, standing_of
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url, require_webhooks

__all__ = [
    "INSTALLATION",
    "InvalidWebhookError",
    "announce",
    "check_webhook_url",
    "find_deliveries",
    "replay",
    "require_webhooks",
    "rotate",
    "secret_of",
    "standing_of",
]
