"""Sends webhooks, beside the leading dispatcher's tick."""

from worker.webhooks.notifier import Notifier

__all__ = ["Notifier"]
