"""The tables and their constraints, which the code then need not be trusted with.

Most tables have two names: a mapped class, and the table itself in capitals, for statements that run for
every job, where the mapping would cost too much. Importing one of them adds all tables to the metadata.
"""

from cutout.models.accounts import ACCOUNTS, LIMITS, Account, Limit
from cutout.models.batches import BATCHES, Batch
from cutout.models.columns import constant
from cutout.models.idempotency import IdempotencyKey
from cutout.models.ingests import INGESTS, NOBODY, Ingest, IngestTurn
from cutout.models.jobs import JOBS, Job
from cutout.models.ledger import ATTEMPTS, SPENDING, Attempt, CreditReading, Spending
from cutout.models.producers import PRODUCERS, ApiKey, Producer
from cutout.models.queue import QUEUE_CLOCK, SHARES, QueueClock, Share
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
    "NOBODY",
    "PRODUCERS",
    "QUEUE_CLOCK",
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
    "Picture",
    "Producer",
    "QueueClock",
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
