"""Webhooks: the outbox of messages to producers' servers, their receivers and secrets.

Triggers in the database write the messages about jobs, batches and schedules; `announce` and `announce_event`
write the others. The dispatcher sends them (`worker/webhooks`).
"""

from cutout.webhooks.deliveries import find_deliveries, replay
from cutout.webhooks.event_types import EventType
from cutout.webhooks.outbox import announce, announce_event
from cutout.webhooks.secrets import INSTALLATION, rotate, secret_of, secret_state
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url, require_webhooks

__all__ = [
    "INSTALLATION",
    "EventType",
    "InvalidWebhookError",
    "announce",
    "announce_event",
    "check_webhook_url",
    "find_deliveries",
    "replay",
    "require_webhooks",
    "rotate",
    "secret_of",
    "secret_state",
]
