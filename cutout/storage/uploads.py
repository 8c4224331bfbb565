"""Upload of sources into the bucket under keys by content, so that a producer's picture is stored once."""

import hashlib
import uuid
from io import BufferedReader
from typing import BinaryIO, cast

from cutout.storage import Bucket
from cutout.storage.object_keys import source_key


def upload_source(bucket: Bucket, body: BinaryIO, producer_id: uuid.UUID | None = None) -> str:
    """Store the picture of a seekable file; returns its `s3://` address, which no other producer shares."""
    body.seek(0)
    digest = hashlib.file_digest(cast("BufferedReader", body), "sha256")
    body.seek(0)
    return bucket.put_source(body, key=source_key(digest.hexdigest(), producer_id), sha256=digest.digest())
