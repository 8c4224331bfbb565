"""Batches made of a manifest: one that is sent, or one that lies at an address. An ingester reads them."""

import json
import uuid
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from anyio import from_thread
from fastapi import Request

from api.problems import ProblemError
from api.services import Services
from cutout.ingest.uploads import ArchiveTooLargeError, EmptyUploadError, keep_pieces
from cutout.manifests.record_builder import may_be_several
from cutout.queue.enqueue import InvalidJobError, NewJob

MEDIA_TYPES = {
    "application/gzip",
    "application/octet-stream",
    "application/rss+xml",
    "application/x-gzip",
    "application/x-ndjson",
    "application/xml",
    "application/zip",
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
    "text/xml",
}


def is_manifest(media_type: str) -> bool:
    """Whether a body of this type is taken as a manifest. What it is shows when it is read."""
    return media_type.partition(";")[0].strip().lower() in MEDIA_TYPES


def keep_upload(services: Services, request: Request) -> str:
    """Stream the request's body into the bucket; returns its key. To be called in a thread of the pool.

    A body that breaks off leaves nothing. Raises ProblemError for one without bytes and for a zip archive
    that no ingester has room for, and StorageError.
    """
    stream = request.stream().__aiter__()

    async def next_piece() -> bytes | None:
        return await anext(stream, None)

    def pieces() -> Iterator[bytes]:
        while (piece := from_thread.run(next_piece)) is not None:
            yield piece

    try:
        return keep_pieces(services.bucket, pieces(), max_archive_bytes=services.settings.max_archive_bytes)
    except EmptyUploadError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "empty-manifest", str(error)) from None
    except ArchiveTooLargeError as error:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", str(error)) from None


def keep_list(services: Services, jobs: Sequence[NewJob]) -> str:
    """Write a list of jobs into the bucket as the manifest that it could have been; returns its key.

    Raises InvalidJobError for an id that would be another one there.
    """
    for job in jobs:
        if job.external_id is not None and job.external_id != job.external_id.strip():
            raise InvalidJobError(
                "external_id",
                f"external_id {job.external_id!r} begins or ends with a blank, which a batch with `plan` does"
                " not keep; leave it out",
            )
    key = f"manifests/uploads/{uuid.uuid4()}"
    services.bucket.put_pieces(map(_line, jobs), key=key, media_type="application/x-ndjson")
    return key


def _line(job: NewJob) -> bytes:
    # A list of one: a text may be taken for several addresses.
    source = [job.source] if may_be_several(job.source) else job.source
    row = {"external_id": job.external_id, "source": source, "return_form": job.return_form}
    return json.dumps(row).encode() + b"\n"
