"""Sources that a form brings: a manifest or archive as it came, or pictures packed into an archive."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from console.adding.sent_form import SentForm
from console.faults import PageError
from cutout.ingest.packed_pictures import packed
from cutout.ingest.sources.file_kinds import (
    EMPTY,
    ENOUGH_BYTES,
    NO_PICTURE,
    is_picture_name,
    reason_by_bytes,
    reason_by_name,
)
from cutout.ingest.sources.source_urls import Addresses
from cutout.network.url_hints import not_an_address
from cutout.queue.enqueue import InvalidJobError, NewJob
from cutout.settings import Settings
from cutout.status.reachable import unreachable_fault
from cutout.storage import split_address
from cutout.text import name_fault

LONGEST_BATCH_NAME = 200
WHOLE_SOURCES = frozenset({".csv", ".tsv", ".ndjson", ".jsonl", ".xml", ".zip", ".gz", ".xlsx"})
ONE_BY_ONE = "Send a manifest or a zip by itself; several pictures together make one batch."


def sent_pieces(form: SentForm) -> Iterator[bytes]:
    """The bytes to be stored of the files of a form; none if it has no file.

    Raises PageError, 422, for files that do not go together, and IngestError for too many.
    """
    files = form.files()
    name, data = next(files, ("", iter(())))
    begin = b""
    for piece in data:
        begin += piece
        if len(begin) >= ENOUGH_BYTES:
            break
    whole = chain([begin] if begin else [], data)
    if is_picture(name, begin):
        yield from packed(chain([(name, whole)], map(_one_of_several, files)))
        return
    yield from whole
    for other, _ in files:
        raise _refused(f"“{name}” is no picture, and came together with “{other}”.")


def is_picture(name: str, begin: bytes) -> bool:
    """Whether a file is a picture, of a kind that can be read or of another one."""
    if is_picture_name(name) or reason_by_name(name):
        return True
    return reason_by_bytes(begin) not in (NO_PICTURE, EMPTY)


def require_address(url: str, settings: Settings, *, may_be_prefix: bool) -> None:
    """Raise ValueError if the URL of a source can never be read."""
    if may_be_prefix and url.startswith("s3://"):
        bucket, _ = split_address(url) or ("", "")
        if not bucket:
            raise ValueError("needs a bucket and a prefix, as in s3://bucket/photos/")
        Addresses.of(settings).require_bucket(bucket)
        return
    if not url.lower().startswith(("https://", "http://")):
        raise ValueError("must begin with https://" + (" or s3://" if may_be_prefix else ""))
    if fault := not_an_address(url):
        raise ValueError(fault)
    try:
        NewJob(url)
    except InvalidJobError as error:
        raise ValueError(str(error)) from None
    if fault := unreachable_fault(settings, [url]):
        raise ValueError(fault)


def name_for(first_file: str | None, url: str) -> str:
    """A name for a batch that was given none."""
    name = first_file or PurePosixPath(unquote(urlsplit(url).path)).name or urlsplit(url).hostname or ""
    if not name or name_fault(name) or is_picture_name(name):
        name = f"{'pictures' if first_file else 'upload'}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return name[:LONGEST_BATCH_NAME]


def _one_of_several(file: tuple[str, Iterator[bytes]]) -> tuple[str, Iterator[bytes]]:
    if PurePosixPath(file[0]).suffix.lower() in WHOLE_SOURCES:
        raise _refused(f"“{file[0]}” came together with pictures.")
    return file


def _refused(text: str) -> PageError:
    return PageError(HTTPStatus.UNPROCESSABLE_ENTITY, text, ONE_BY_ONE)
