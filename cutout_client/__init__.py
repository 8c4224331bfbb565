"""The client for producers: enqueue pictures over HTTP, wait for their jobs, fetch the cutouts.

It needs httpx and nothing else:

    with Client("https://cutout.example", key) as cutout:
        job = cutout.enqueue(source_url="https://shop.example/p/4471.jpg", external_id="SKU-4471")
        job = cutout.wait(job.id)
        cutout.download(job.id, "SKU-4471.png")
"""

from cutout_client.client import Client
from cutout_client.errors import (
    ApiError,
    BrokenDownloadError,
    CutoutError,
    ForbiddenError,
    InvalidError,
    KeyReusedError,
    MissingError,
    NoAnswerError,
    NoResultError,
    NotDoneError,
    TooMuchError,
    UnauthorizedError,
    UnavailableError,
)
from cutout_client.retries import Retries
from cutout_client.views import Batch, Job, JobError, NewJob, Result

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "Batch",
    "BrokenDownloadError",
    "Client",
    "CutoutError",
    "ForbiddenError",
    "InvalidError",
    "Job",
    "JobError",
    "KeyReusedError",
    "MissingError",
    "NewJob",
    "NoAnswerError",
    "NoResultError",
    "NotDoneError",
    "Result",
    "Retries",
    "TooMuchError",
    "UnauthorizedError",
    "UnavailableError",
]
