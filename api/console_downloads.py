"""Downloads of files for the console: in the places and turns that those of the API have too."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

from fastapi import Response
from sqlalchemy import Engine

from api.console_problems import page_of
from api.problems import ProblemError
from api.services import Services
from api.streaming import PatientStream, in_turns
from console import PageError
from cutout.manifests import ManifestError
from cutout.models import NOBODY
from cutout.queue.job_ids import NoRoomForIdsError
from cutout.storage import Bucket, StorageError

# 10 GB at 4 Mbit/s.
WHOLE_WITHIN_S = 6 * 3600.0
ASK_EVERY_S = 5.0

NOTHING_SENT = "Nothing was sent."

T = TypeVar("T")


class DownloadEndedError(Exception):
    """A download broke off because its reader may not read it any more."""


class LongStream(PatientStream):
    """A file that may be as large as the pictures of ten thousand jobs."""

    whole_within_s = WHOLE_WITHIN_S


class DownloadsOf:
    """Downloads of producers, and of operators, who take turns as one producer does."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @contextmanager
    def place(self, of: uuid.UUID | None, *, has_pictures: bool) -> Iterator[None]:
        """A place for a file until its last byte is sent. Raises PageError."""
        services = self._services
        try:
            with (services.pictures if has_pictures else services.downloads).held(of or NOBODY):
                yield
        except ProblemError as error:
            raise page_of(error, NOTHING_SENT) from None

    async def run(self, of: uuid.UUID | None, work: Callable[[Engine, Bucket], T]) -> T:
        """The result of short work on a thread for downloads. Raises PageError, and what `work` raises."""
        services = self._services
        try:
            return await services.download_threads.run(of or NOBODY, work, services.engine, services.bucket)
        except ProblemError as error:
            raise page_of(error, NOTHING_SENT) from None
        except StorageError as error:
            raise _without_bucket() from error

    async def send(
        self,
        of: uuid.UUID | None,
        pieces: Callable[[Engine, Bucket], Iterator[bytes]],
        *,
        media_type: str,
        headers: Mapping[str, str],
        goes_on: Callable[[], Awaitable[bool]],
    ) -> Response:
        """The answer with the file, once it has begun. Raises PageError if it cannot begin.

        It breaks off once `goes_on`, asked every ASK_EVERY_S, says no. What breaks off ends the connection,
        so that a browser says that the file is not whole.
        """
        services = self._services
        made = in_turns(pieces(services.engine, services.bucket), services.download_threads, of or NOBODY)
        try:
            first = await anext(made, b"")
        except StorageError as error:
            raise _without_bucket() from error
        except ManifestError as error:
            raise PageError(
                HTTPStatus.CONFLICT, f"The file that came in cannot be read again: {error}.", "Take the CSV."
            ) from None
        except NoRoomForIdsError as error:
            text = "The server has no room for the list of its jobs at present."
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, text, "Try again later.", wait_s=60) from error
        return LongStream(_all(first, made, goes_on), media_type=media_type, headers=dict(headers))


async def _all(
    first: bytes, others: AsyncIterator[bytes], goes_on: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    asked_at = time.monotonic()
    yield first
    async for piece in others:
        if time.monotonic() - asked_at >= ASK_EVERY_S:
            asked_at = time.monotonic()
            if not await goes_on():
                raise DownloadEndedError("the session of this download has ended")
        yield piece


def _without_bucket() -> PageError:
    text = "The bucket does not answer, and nothing can be read from it."
    return PageError(HTTPStatus.SERVICE_UNAVAILABLE, text, "Try again in a moment.", wait_s=5)
