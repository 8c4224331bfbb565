"""The tables. Constraints say what can never be, so that no code has to be trusted with it.

Most are here twice: as a class, and in capitals as the same table, for statements on every job's way, where
the mapping's work would be felt. To import one of them is to have them all in the metadata.
"""

from cutout.models.accounts import ACCOUNTS, LIMITS, Account, Limit
from cutout.models.batches import BATCHES, Batch
from cutout.models.columns import constant
from cutout.models.idempotency import IdempotencyKey
from cutout.models.ingests import INGESTS, NOBODY, Ingest, IngestTurn
from cutout.models.jobs import JOBS, Job
from cutout.models.ledger import ATTEMPTS, SPENDING, Attempt, CreditReading, Spending
from cutout.models.producers import PRODUCERS, ApiKey, Producer
from cutout.models.queue import LINE, SHARES, Line, Share
from cutout.models.results import RESULTS, SOURCES, Result, Source
from cutout.models.schedules import RUNS, SCHEDULES, Picture, Run, Schedule
from cutout.models.storage_breaker import BREAKER, Breaker
from cutout.models.webhooks import DELIVERIES, RECEIVERS, WEBHOOK_SECRETS, Delivery, Digest, WebhookSecret
from cutout.models.workers import WORKERS, Worker

__all__ = [
    "ACCOUNTS",
    "ATTEMPTS",
    "BATCHES",
    "BREAKER",
    "DELIVERIES",
    "INGESTS",
    "JOBS",
    "LIMITS",
    "LINE",
    "NOBODY",
    "PRODUCERS",
    "RECEIVERS",
    "RESULTS",
    "RUNS",
    "SCHEDULES",
    "SHARES",
    "SOURCES",
    "SPENDING",
    "WEBHOOK_SECRETS",
    "WORKERS",
    "Account",
    "ApiKey",
    "Attempt",
    "Batch",
    "Breaker",
    "CreditReading",
    "Delivery",
    "Digest",
    "IdempotencyKey",
    "Ingest",
    "IngestTurn",
    "Job",
    "Limit",
    "Line",
    "Picture",
    "Producer",
    "Result",
    "Run",
    "Schedule",
    "Share",
    "Source",
    "Spending",
    "WebhookSecret",
    "Worker",
    "constant",
]
