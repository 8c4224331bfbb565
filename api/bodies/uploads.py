"""Uploads of pictures: checked for size alone; the worker checks the content."""

import logging
import os
import uuid
from http import HTTPStatus
from typing import BinaryIO

from api.problems import ProblemError
from api.schemas import JobForm, JobOptions
from api.schemas.output_requests import OutputFields
from cutout.storage import Bucket, StorageError
from cutout.storage.uploads import upload_source

log = logging.getLogger(__name__)


def store_upload(bucket: Bucket, body: BinaryIO, *, max_bytes: int, producer_id: uuid.UUID) -> str:
    """Store a picture that lies in a seekable file; returns its address in the bucket."""
    size = body.seek(0, os.SEEK_END)
    if size == 0:
        detail = "the uploaded picture has 0 bytes; send the file itself"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "empty-image", detail, field="image")
    if size > max_bytes:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "image-too-large",
            f"the uploaded picture has {size} bytes, at most {max_bytes} are taken",
            field="image",
        )
    return upload_source(bucket, body, producer_id)


def make_sure_of_upload(bucket: Bucket, source: str, body: BinaryIO, producer_id: uuid.UUID) -> None:
    """Store a picture again that was deleted before its job was seen (`administration/source_removal.py`)."""
    key = bucket.key_of(source)
    try:
        if key is not None and not bucket.has(key):
            upload_source(bucket, body, producer_id)
    except StorageError as error:
        # The job is there, and most likely its picture too: a refusal would have it sent a second time.
        log.warning("whether the bucket still has an upload could not be asked: %s", error)


def meaning_of(asked: JobOptions, source: str, producer_id: uuid.UUID) -> bytes:
    """The meaning of an upload for its Idempotency-Key: the picture and the options, however encoded.

    Two forms of the same fields differ by the boundary that the client made up. `source` names the content.
    """
    # Without the producer's folder and the options that older versions lacked, so that an upload sent again
    # after an upgrade is recognized.
    content = source.replace(f"/sources/{producer_id}/", "/sources/")
    added = OutputFields.model_fields | {name: JobForm.model_fields[name] for name in ("metadata", "unique")}
    newer = {name for name, field in added.items() if getattr(asked, name) == field.default}
    return f"upload {content} {asked.model_dump_json(exclude=newer)}".encode()
