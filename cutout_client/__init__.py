"""The client for producers: enqueue pictures over HTTP, wait for their jobs, fetch the cutouts.

It needs httpx and nothing else:

    with Client("https://cutout.example", key) as cutout:
        job = cutout.jobs.enqueue(source_url="https://shop.example/p/4471.jpg", external_id="SKU-4471")
        job = cutout.jobs.wait(job.id)
        cutout.jobs.download(job.id, "SKU-4471.png")
"""

from cutout_client.async_client import AsyncClient
from cutout_client.calls.batches import NewJob
from cutout_client.client import Client
from cutout_client.errors import (
    ApiError,
    BrokenAnswerError,
    BrokenDownloadError,
    ChangedMeanwhileError,
    ConflictError,
    CutoutError,
    ForbiddenError,
    InvalidError,
    JobExistsError,
    KeyReusedError,
    MissingError,
    NoAnswerError,
    NoResultError,
    NotDoneError,
    OutputFailedError,
    OutputWaitingError,
    ScheduleExistsError,
    TooMuchError,
    UnauthorizedError,
    UnavailableError,
    WebhookError,
)
from cutout_client.retries import Retries
from cutout_client.version import __version__
from cutout_client.views.account import ActionRecord, Ceilings, Identity, Key, Producer, Quota, RequestRate
from cutout_client.views.batches import (
    Action,
    ActionError,
    Batch,
    BatchEvent,
    BatchSummary,
    EndedJob,
    Ingest,
    OutputCounts,
    Plan,
    SkippedFiles,
)
from cutout_client.views.jobs import (
    BoughtPicture,
    DeletedPart,
    Deletion,
    Explanation,
    Job,
    JobError,
    Output,
    OutputExplanation,
    Result,
    Score,
    ScoreReason,
    Unexpected,
)
from cutout_client.views.schedules import ComingRun, Run, Schedule
from cutout_client.views.webhooks import Delivery, Endpoint
from cutout_client.webhooks import WebhookMessage, verify_webhook

__all__ = [
    "Action",
    "ActionError",
    "ActionRecord",
    "ApiError",
    "AsyncClient",
    "Batch",
    "BatchEvent",
    "BatchSummary",
    "BoughtPicture",
    "BrokenAnswerError",
    "BrokenDownloadError",
    "Ceilings",
    "ChangedMeanwhileError",
    "Client",
    "ComingRun",
    "ConflictError",
    "CutoutError",
    "DeletedPart",
    "Deletion",
    "Delivery",
    "EndedJob",
    "Endpoint",
    "Explanation",
    "ForbiddenError",
    "Identity",
    "Ingest",
    "InvalidError",
    "Job",
    "JobError",
    "JobExistsError",
    "Key",
    "KeyReusedError",
    "MissingError",
    "NewJob",
    "NoAnswerError",
    "NoResultError",
    "NotDoneError",
    "Output",
    "OutputCounts",
    "OutputExplanation",
    "OutputFailedError",
    "OutputWaitingError",
    "Plan",
    "Producer",
    "Quota",
    "RequestRate",
    "Result",
    "Retries",
    "Run",
    "Schedule",
    "ScheduleExistsError",
    "Score",
    "ScoreReason",
    "SkippedFiles",
    "TooMuchError",
    "UnauthorizedError",
    "UnavailableError",
    "Unexpected",
    "WebhookError",
    "WebhookMessage",
    "__version__",
    "verify_webhook",
]
