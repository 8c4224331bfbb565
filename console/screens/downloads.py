"""Downloads of a batch: its results, the manifest with columns added, its pictures as zips."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request, Response
from sqlalchemy import Connection, Engine, select
from sqlalchemy.orm import Session

from console.console import console_of
from console.cookies import session_token
from console.faults import not_found
from console.pages import answer_headers, viewer_of
from console.screens.batch_rows import own
from console.screens.router import screen_router
from console.viewer import Viewer
from cutout.enums import State
from cutout.manifests.detect import NDJSON
from cutout.models import BATCHES, INGESTS, RUNS
from cutout.producers.sessions import token_hash
from cutout.results import (
    CutoutLinks,
    Format,
    KeptManifest,
    NoManifestError,
    PicturesZip,
    ResultsFile,
    Selection,
    find_manifest,
    measure_pictures,
)
from cutout.results.file_names import saved_as
from cutout.results.pictures_zip import JOBS_A_ZIP, MEDIA_TYPE, PicturesSize, parts_of
from cutout.status.batch_status import BatchStatus
from cutout.storage import Bucket

router = screen_router()

MOST_DIGITS = 6


class Kind(StrEnum):
    """Kind of a file of results."""

    CSV = "csv"
    NDJSON = "ndjson"
    AS_IT_CAME = "as-it-came"


@dataclass(frozen=True, slots=True)
class Part:
    """A zip of the pictures of some jobs, from the first to the last as they were enqueued."""

    number: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Downloads:
    """The files that a batch has: `manifest` is the kind of the one it was made of, `run` has the report."""

    pictures: PicturesSize
    parts: Sequence[Part]
    manifest: str | None
    run: tuple[uuid.UUID, uuid.UUID] | None

    @property
    def one(self) -> bool:
        """Whether all pictures are in one zip."""
        return len(self.parts) == 1


def find_downloads(connection: Connection, status: BatchStatus) -> Downloads:
    """The files that the batch has now."""
    numbers = range(1, parts_of(status.total) + 1)
    parts = [Part(n, (n - 1) * JOBS_A_ZIP + 1, min(n * JOBS_A_ZIP, status.total)) for n in numbers]
    report = select(RUNS.c.schedule_id, RUNS.c.id).where(
        RUNS.c.batch_id == status.id, RUNS.c.report_key.is_not(None)
    )
    run = connection.execute(report.limit(1)).first()
    return Downloads(
        measure_pictures(connection, status.id, status.counts[State.SUCCEEDED]),
        parts,
        status.ingest.kind if _manifest(connection, status.id) and status.ingest else None,
        (run.schedule_id, run.id) if run else None,
    )


def _place(*, has_pictures: bool) -> Callable[[Request], AsyncIterator[None]]:
    async def held(request: Request) -> AsyncIterator[None]:
        """A place for a file until its last byte is sent."""
        downloads, of = console_of(request).handed.downloads, viewer_of(request).producer_id
        with downloads.place(of, has_pictures=has_pictures):
            yield

    return held


# scope="request": over when the answer has been sent, or could not be.
ResultsPlace = Annotated[None, Depends(_place(has_pictures=False), scope="request")]
PicturesPlace = Annotated[None, Depends(_place(has_pictures=True), scope="request")]


@router.get("/console/batches/{batch_id}/results/{kind}")
async def results(batch_id: uuid.UUID, kind: Kind, request: Request, _place: ResultsPlace) -> Response:
    """The result of each job so far, as a file; with `links=true` links that are good for a day."""
    console, viewer = console_of(request), viewer_of(request)

    def look(connection: Connection) -> tuple[str, KeptManifest | None, str]:
        name = _name_of(connection, viewer, batch_id)
        if kind is not Kind.AS_IT_CAME:
            return name, None, f"-results.{kind}"
        kept = _manifest(connection, batch_id)
        if kept is None:
            raise not_found("manifest of this batch")
        found = connection.scalar(select(INGESTS.c.kind).where(INGESTS.c.batch_id == batch_id))
        return name, kept, f"-with-results.{_extension_of(found or '')}"

    name, kept, end = await console.pool.read(look, of=viewer.producer_id)
    links = None
    if request.query_params.get("links") == "true":
        links = await console.handed.downloads.run(viewer.producer_id, lambda _, bucket: CutoutLinks(bucket))
    form = Format.CSV if kept else Format(kind)
    file = ResultsFile(Selection(batch_id), form, links, kept)
    return await _send(request, file, file.media_type, saved_as(name, end))


@router.get("/console/batches/{batch_id}/pictures/{part}")
async def pictures(batch_id: uuid.UUID, part: str, request: Request, _place: PicturesPlace) -> Response:
    """The pictures that the jobs of one part have so far, as a zip."""
    console, viewer = console_of(request), viewer_of(request)
    if not part.isascii() or not part.isdigit() or len(part) > MOST_DIGITS or int(part) < 1:
        raise not_found("such part of its pictures")
    name = await console.pool.read(
        lambda connection: _name_of(connection, viewer, batch_id), of=viewer.producer_id
    )
    end = "-pictures.zip" if part == "1" else f"-pictures-{part}.zip"
    return await _send(request, PicturesZip(batch_id, int(part)), MEDIA_TYPE, saved_as(name, end))


async def _send(
    request: Request, file: ResultsFile | PicturesZip, media_type: str, disposition: str
) -> Response:
    console, viewer = console_of(request), viewer_of(request)
    token = token_hash(session_token(request) or "")
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}

    def pieces(engine: Engine, bucket: Bucket) -> Iterator[bytes]:
        return file.pieces(engine, bucket)

    return await console.handed.downloads.send(
        viewer.producer_id,
        pieces,
        media_type=media_type,
        headers=answer_headers(console) | headers,
        goes_on=lambda: console.is_open(token),
    )


def _name_of(connection: Connection, viewer: Viewer, batch_id: uuid.UUID) -> str:
    """The name of the viewer's batch. Raises PageError, 404."""
    this = select(BATCHES.c.name).where(
        BATCHES.c.id == batch_id, BATCHES.c.delete_requested_at.is_(None), *own(viewer)
    )
    name: str | None = connection.scalar(this)
    if name is None:
        raise not_found("such batch")
    return name


def _manifest(connection: Connection, batch_id: uuid.UUID) -> KeptManifest | None:
    try:
        with Session(connection) as session:
            return find_manifest(session, batch_id)
    except NoManifestError:
        return None


def _extension_of(kind: str) -> str:
    """The extension of a manifest that is written back: an XML feed comes back as a table."""
    return {NDJSON: "ndjson", "TSV manifest": "tsv"}.get(kind, "csv")
