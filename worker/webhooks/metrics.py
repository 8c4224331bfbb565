"""Metrics of the sending of webhooks, served by the dispatcher."""

from prometheus_client import Counter, Histogram

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)

DELIVERED, FAILED, GIVEN_UP = RESULTS = ("delivered", "failed", "given_up")

SENT = Counter(
    "cutout_webhooks_sent",
    "Tries to send a webhook, by result; given_up ends its webhook undelivered",
    ["result"],
)
DURATION = Histogram(
    "cutout_webhook_duration_seconds", "Seconds until the receiver answered", buckets=SECONDS
)

for _result in RESULTS:
    # A counter that begins with its first event hides that event from rate().
    SENT.labels(_result)
