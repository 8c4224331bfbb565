"""Sources that a client sends: stored in the bucket as they come, until an ingester reads them."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cutout.ingest.sources.temporary_space import archives_within
from cutout.models.database import is_away
from cutout.storage import Bucket

UPLOADED = "an upload"


class UploadError(ValueError):
    """An upload that is not taken; the text says why."""


class EmptyUploadError(UploadError):
    """An upload without bytes."""


class ArchiveTooLargeError(UploadError):
    """A zip archive that no ingester has room for."""


def keep_pieces(
    bucket: Bucket,
    pieces: Iterable[bytes],
    *,
    max_archive_bytes: int,
    media_type: str = "application/octet-stream",
) -> str:
    """Store an upload; returns its key. One that breaks off leaves nothing.

    Raises EmptyUploadError, ArchiveTooLargeError, StorageError, and what `pieces` raises.
    """
    key = f"manifests/uploads/{uuid.uuid4()}"
    too_large = ArchiveTooLargeError(
        f"the body is a zip archive of more than {max_archive_bytes} bytes, the limit for those; pack several"
    )
    bounded = archives_within(_not_empty(pieces), max_archive_bytes, too_large)
    bucket.put_pieces(bounded, key=key, media_type=media_type)
    return key


@contextmanager
def left_behind(bucket: Bucket, key: str | None) -> Iterator[None]:
    """Remove an upload from the bucket if the context, which requests its ingest, fails.

    Where Postgres went away it stays: the batch may be there, and would have nothing to be read from.
    """
    try:
        yield
    except Exception as error:
        if key is not None and not is_away(error):
            bucket.delete(key)
        raise


def _not_empty(pieces: Iterable[bytes]) -> Iterator[bytes]:
    empty = True
    for piece in pieces:
        empty = empty and not piece
        yield piece
    if empty:
        raise EmptyUploadError("the body has 0 bytes; send the file itself")
