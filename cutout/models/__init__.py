"""The tables and their constraints, which the code then need not be trusted with.

Most tables have two names: a mapped class, and the table itself in capitals, for statements that run for
every job, where the mapping would cost too much. Importing one of them adds all tables to the metadata.
"""

from cutout.models.accounts import ACCOUNTS, LIMITS, Account, Limit
from cutout.models.actions import ACTIONS, QUOTES, Action, Quote
from cutout.models.batches import BATCHES, Batch
from cutout.models.calibrations import CALIBRATIONS, Calibration
from cutout.models.columns import constant
from cutout.models.idempotency import IdempotencyKey
from cutout.models.ingests import INGESTS, NOBODY, Ingest, IngestTurn
from cutout.models.jobs import JOBS, Job
from cutout.models.ledger import ATTEMPTS, SPENDING, Attempt, CreditReading, Spending
from cutout.models.outputs import OUTPUTS, RENDERERS, Output, Renderer
from cutout.models.producers import PRODUCERS, ApiKey, Producer
from cutout.models.queue import QUEUE_CLOCK, SHARES, QueueClock, Share
from cutout.models.results import RESULTS, SOURCES, Result, Source
from cutout.models.schedules import RUNS, SCHEDULES, Picture, Run, Schedule
from cutout.models.sessions import SESSIONS, SIGN_IN_LINKS, ConsoleSession, SignInLink
from cutout.models.storage_breaker import BREAKER, Breaker
from cutout.models.webhooks import (
    DELIVERIES,
    RECEIVERS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_SECRETS,
    Delivery,
    Digest,
    WebhookEndpoint,
    WebhookSecret,
)
from cutout.models.workers import WORKERS, Worker

__all__ = [
    "ACCOUNTS",
    "ACTIONS",
    "ATTEMPTS",
    "BATCHES",
    "BREAKER",
    "CALIBRATIONS",
    "DELIVERIES",
    "INGESTS",
    "JOBS",
    "LIMITS",
    "NOBODY",
    "OUTPUTS",
    "PRODUCERS",
    "QUEUE_CLOCK",
    "QUOTES",
    "RECEIVERS",
    "RENDERERS",
    "RESULTS",
    "RUNS",
    "SCHEDULES",
    "SESSIONS",
    "SHARES",
    "SIGN_IN_LINKS",
    "SOURCES",
    "SPENDING",
    "WEBHOOK_ENDPOINTS",
    "WEBHOOK_SECRETS",
    "WORKERS",
    "Account",
    "Action",
    "ApiKey",
    "Attempt",
    "Batch",
    "Breaker",
    "Calibration",
    "ConsoleSession",
    "CreditReading",
    "Delivery",
    "Digest",
    "IdempotencyKey",
    "Ingest",
    "IngestTurn",
    "Job",
    "Limit",
    "Output",
    "Picture",
    "Producer",
    "QueueClock",
    "Quote",
    "Renderer",
    "Result",
    "Run",
    "Schedule",
    "Share",
    "SignInLink",
    "Source",
    "Spending",
    "WebhookEndpoint",
    "WebhookSecret",
    "Worker",
    "constant",
]
