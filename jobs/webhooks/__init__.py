"""Telling producers' servers what became of their work: what is sent, to whom, and how it is signed.

Jobs and batches announce themselves, by triggers in the database; whatever else happens is announced by
`announce`. The dispatcher sends (`worker/webhooks`).
"""

from jobs.webhooks.addresses import InvalidWebhookError, check_webhook_url, require_webhooks
from jobs.webhooks.announcing import announce
from jobs.webhooks.deliveries import find_deliveries, replay
from jobs.webhooks.owners import INSTALLATION, rotate, standing_of
from jobs.webhooks.secrets import secret_of

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
