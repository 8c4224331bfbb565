"""Batches made of a manifest: one that is sent, or one that lies at an address. An ingester reads them."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from anyio import from_thread
from fastapi import Request

from api.problems import ProblemError
from api.services import Services
from cutout.ingest.sources.temporary_space import archives_within
from cutout.manifests.record_builder import may_be_several
from cutout.models.database import is_away
from cutout.queue.enqueue import InvalidJobError, NewJob
from cutout.storage import Bucket

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
    key = f"manifests/uploads/{uuid.uuid4()}"
    stream = request.stream().__aiter__()

    async def next_piece() -> bytes | None:
        return await anext(stream, None)

    def pieces() -> Iterator[bytes]:
        empty = True
        while (piece := from_thread.run(next_piece)) is not None:
            empty = empty and not piece
            yield piece
        if empty:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "empty-manifest",
                "the body has 0 bytes; send the file itself",
            )

    most = services.settings.max_archive_bytes
    too_large = ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body is a zip archive of more than {most} bytes, the limit for those; pack several",
    )
    bounded = archives_within(pieces(), most, too_large)
    services.bucket.put_pieces(bounded, key=key, media_type="application/octet-stream")
    return key


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


@contextmanager
def left_behind(bucket: Bucket, key: str | None) -> Iterator[None]:
    """Remove the manifest from the bucket if its request fails, or is a repeated one.

    Where Postgres went away it stays: the batch may be there, and would have nothing to be read from.
    """
    try:
        yield
    except Exception as error:
        if key is not None and not is_away(error):
            bucket.delete(key)
        raise
