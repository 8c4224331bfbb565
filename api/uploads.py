"""Uploaded pictures are checked for size alone: what is in them the worker finds out."""

import os
from http import HTTPStatus
from typing import BinaryIO

from api.problems import ProblemError
from api.schemas import JobOptions
from jobs.sources import upload_source
from jobs.storage import Bucket


def store_upload(bucket: Bucket, body: BinaryIO, *, max_bytes: int) -> str:
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
    return upload_source(bucket, body)


def meaning_of(asked: JobOptions, source: str) -> bytes:
    """What an upload asks for, for its Idempotency-Key: the same picture and options in any form's bytes.

    Two forms of the same fields differ by the boundary that the client made up. `source` names the content.
    """
    return f"upload {source} {asked.model_dump_json()}".encode()
