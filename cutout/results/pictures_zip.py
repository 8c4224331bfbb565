"""Pictures of a batch as zips that are written while they are read: each of so many jobs, in their order."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import BinaryIO

from sqlalchemy import Engine, case, false, func, select, true

from cutout.enums import OutputState, ReturnForm, State
from cutout.ingest.packed_pictures import zipped
from cutout.models import JOBS, OUTPUTS, constant
from cutout.models.database import Database
from cutout.queue.job_ids import find_ids
from cutout.results.rows import ResultRow, read_rows
from cutout.status.outputs import SCORE
from cutout.storage import (
    Bucket,
    ObjectArchivedError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
)
from cutout.storage.object_keys import extension_of, safe_name

# The list of names is in memory until its end: 6 MB.
JOBS_A_ZIP = 10_000
JOBS_A_PAGE = 1000
# Of each picture; a larger one is read in pieces, with one request more.
READ_AT_ONCE = 8_388_608
# Whoever takes 35 kB a second has taken one before api/streaming.py gives it up.
PIECE_BYTES = 1_048_576
MEDIA_TYPE = "application/zip"
MISSING = "missing.txt"
# Codes by which one object is refused; a HEAD request gets the status alone.
FORBIDDEN = frozenset({"AccessDenied", "403"})
# After so many without a single picture it is not the object that is refused.
MOST_FORBIDDEN = 20
# Jobs whose pictures are added up for the size of all.
SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class PicturesSize:
    """The number of a batch's pictures and their bytes: exact, or by those of SAMPLE jobs."""

    files: int
    size_bytes: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    """A file of the zip: its name in it, its key, and its size as it was recorded."""

    name: str
    key: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class PicturesZip:
    """The pictures that the jobs of one part have: what each delivers, and its renditions in folders.

    Jobs are counted as they were enqueued, so that a part has the same jobs however many of them have
    ended; a deletion moves those behind it.
    """

    batch_id: uuid.UUID
    part: int = 1

    def pieces(self, engine: Engine, bucket: Bucket) -> Iterator[bytes]:
        """The zip, in which a picture that cannot be read is named in `MISSING`.

        No connection is held between two pieces. Raises NoRoomForIdsError, and StorageError if the bucket
        does not answer.
        """
        yield from zipped(self._files(engine, bucket), may_be_large=False)

    def _files(self, engine: Engine, bucket: Bucket) -> Iterator[tuple[str, Iterator[bytes]]]:
        gone: list[str] = []
        taken: set[str] = set()
        readable = False
        for row in self._rows(engine):
            for picture in _pictures(row):
                name = _free_name(picture.name, row.job_id, taken)
                try:
                    pieces = _read(bucket, picture)
                except StorageError as error:
                    gone.append(f"{name}: {_why_unreadable(error)}\n")
                    if error.code in FORBIDDEN and not readable and len(gone) >= MOST_FORBIDDEN:
                        raise
                    continue
                readable = True
                yield name, pieces
        if gone:
            yield MISSING, iter(["".join(gone).encode()])

    def _rows(self, engine: Engine) -> Iterator[ResultRow]:
        pages = JOBS_A_ZIP // JOBS_A_PAGE
        begin = (self.part - 1) * pages
        with find_ids(engine, JOBS.c.batch_id == self.batch_id, JOBS.c.deleted_at.is_(None)) as ids:
            for page in islice(ids.pages(JOBS_A_PAGE), begin, begin + pages):
                yield from read_rows(engine, page)


def parts_of(jobs: int) -> int:
    """The number of zips for so many jobs."""
    return -(-jobs // JOBS_A_ZIP)


def measure_pictures(database: Database, batch_id: uuid.UUID, succeeded: int) -> PicturesSize:
    """The pictures of a batch of which so many jobs have succeeded, as a zip of all would have them."""
    read = (
        select(JOBS.c.id, JOBS.c.return_form, JOBS.c.size_bytes)
        .where(
            JOBS.c.batch_id == batch_id,
            JOBS.c.state == constant(State.SUCCEEDED),
            JOBS.c.deleted_at.is_(None),
        )
        .limit(SAMPLE)
        .subquery("read")
    )
    is_made = OUTPUTS.c.state == constant(OutputState.MADE)
    own = (
        select(
            func.coalesce(func.bool_or(OUTPUTS.c.name == read.c.return_form), false()).label("delivers"),
            func.count().filter(is_made).label("files"),
            func.coalesce(func.sum(OUTPUTS.c.size_bytes).filter(is_made), 0).label("size_bytes"),
        )
        .where(OUTPUTS.c.job_id == read.c.id, OUTPUTS.c.name != SCORE)
        .lateral("own")
    )
    # What was bought is delivered where no output takes its place.
    bought = case((own.c.delivers, 0), else_=1)
    jobs, files, size_bytes = database.execute(
        select(
            func.count(),
            func.coalesce(func.sum(bought + own.c.files), 0),
            func.coalesce(func.sum(bought * func.coalesce(read.c.size_bytes, 0) + own.c.size_bytes), 0),
        ).join_from(read, own, true())
    ).one()
    is_exact = jobs < SAMPLE or succeeded <= jobs
    share = 1.0 if is_exact else succeeded / jobs
    return PicturesSize(round(int(files) * share), round(int(size_bytes) * share), is_exact=is_exact)


def _pictures(row: ResultRow) -> Iterator[_Picture]:
    stem = safe_name(row.external_id) if row.external_id else row.job_id
    form = "" if row.return_form == ReturnForm.RGBA else f".{row.return_form}"
    if row.key:
        yield _Picture(f"{stem}{form}.{extension_of(row.media_type or '')}", row.key, row.size_bytes)
    for output in row.renditions:
        if output.key:
            # A file that the producer named lies in a folder of its job and rendition.
            named = output.key.partition(f"/{row.job_id}/{output.name}/")[2]
            usual = f"{stem}{form}.{extension_of(output.media_type or '')}"
            yield _Picture(f"{output.name}/{named or usual}", output.key, output.size_bytes)


def _why_unreadable(error: StorageError) -> str:
    """The reason why this object alone cannot be read; raises the error if it is not of the object."""
    if isinstance(error, ObjectMissingError):
        return "not in the bucket any more"
    if isinstance(error, ObjectArchivedError):
        return "archived in the bucket; it must be restored first"
    if error.code in FORBIDDEN:
        return "the bucket does not let the server read it"
    raise error


def _free_name(name: str, job_id: str, taken: set[str]) -> str:
    """The name, or if another file has it, also in other letters' case, one with the job's id."""
    if name.casefold() in taken:
        stem, _, extension = name.rpartition(".")
        name = f"{stem}-{job_id}.{extension}"
    taken.add(name.casefold())
    return name


def _read(bucket: Bucket, picture: _Picture) -> Iterator[bytes]:
    stream: BinaryIO | None = None
    with suppress(ObjectTooLargeError):
        if picture.size_bytes is None or picture.size_bytes <= READ_AT_ONCE:
            stream = BytesIO(bucket.read(picture.key, max_bytes=READ_AT_ONCE))
    whole = stream or bucket.open(picture.key)
    return iter(lambda: whole.read(PIECE_BYTES), b"")
