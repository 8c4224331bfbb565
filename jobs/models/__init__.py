"""The tables. Constraints say what can never be, so that no code has to be trusted with it.

Most are here twice: as a class, and in capitals as the same table, for statements on every job's way, where
the mapping's work would be felt. To import one of them is to have them all in the metadata.
"""

from jobs.models.accounts import ACCOUNTS, LIMITS, Account, Limit
from jobs.models.batches import BATCHES, Batch
from jobs.models.breaker import BREAKER, Breaker
from jobs.models.idempotency import IdempotencyKey
from jobs.models.ingests import INGESTS, NOBODY, Ingest, IngestTurn
from jobs.models.jobs import JOBS, Job
from jobs.models.ledger import ATTEMPTS, SPENDING, Attempt, CreditReading, Spending
from jobs.models.line import LINE, SHARES, Line, Share
from jobs.models.producers import PRODUCERS, ApiKey, Producer
from jobs.models.results import RESULTS, SOURCES, Result, Source
from jobs.models.schedules import RUNS, SCHEDULES, Picture, Run, Schedule
from jobs.models.webhooks import DELIVERIES, RECEIVERS, WEBHOOK_SECRETS, Delivery, Digest, WebhookSecret
from jobs.models.words import constant
from jobs.models.workers import WORKERS, Worker

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
