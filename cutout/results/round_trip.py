"""The input manifest written back with the results of its pictures."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, Engine, Text, Uuid, any_, bindparam, func, select
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.ingest.numbered_ids import spooled_final_ids
from cutout.ingest.pending import NOT_READ_YET
from cutout.ingest.sources.archive import Archive
from cutout.ingest.sources.bucket_prefix import Prefix
from cutout.ingest.sources.directory import Directory
from cutout.ingest.sources.read_options import MANY
from cutout.ingest.sources.source import IdNumbering
from cutout.manifests import Manifest, Picture, Record, open_manifest
from cutout.models import JOBS, Ingest
from cutout.results.added_columns import AddedColumns, RecordJobs, record_state
from cutout.results.image_column import ImageColumn, PictureJobs
from cutout.results.links import CutoutLinks
from cutout.results.rows import ResultRow, read_rows
from cutout.results.tally import WrittenRows
from cutout.results.writers import make_writer
from cutout.status.outputs import renditions_of_batch
from cutout.storage import Bucket

RECORDS_A_CHUNK = 1000
FORMS = tuple(ReturnForm)
# The file that was sent is kept for these, too.
WITHOUT_MANIFEST = frozenset({NOT_READ_YET, Archive.kind, Directory.kind, Prefix.kind})

ITS_JOBS = select(
    JOBS.c.id,
    JOBS.c.external_id,
    JOBS.c.return_form,
    JOBS.c.manifest_line,
    func.coalesce(JOBS.c.manifest_source, JOBS.c.source).label("named"),
).where(
    JOBS.c.batch_id == bindparam("batch", type_=Uuid),
    JOBS.c.external_id == any_(bindparam("names", type_=ARRAY(Text))),
)


class NoManifestError(Exception):
    """The batch has no manifest to write back."""


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """The manifest of a batch in the bucket, and the options with which it was read."""

    batch_id: uuid.UUID
    key: str
    records: int
    options: dict[str, Any]

    @property
    def forms(self) -> tuple[ReturnForm, ...]:
        """The forms of a picture whose record names none; empty if they were not recorded."""
        return tuple(ReturnForm(form) for form in self.options.get("forms") or ())

    @property
    def many(self) -> bool:
        return bool(self.options.get(MANY))

    @property
    def columns(self) -> dict[str, str]:
        return dict(self.options.get("columns") or {})


def find_manifest(session: Session, batch_id: uuid.UUID) -> KeptManifest:
    """The batch's manifest. Raises NoManifestError if it was not made from one, or it was not kept."""
    ingest = session.get(Ingest, batch_id)
    if ingest is None or ingest.manifest_key is None or ingest.kind in WITHOUT_MANIFEST:
        raise NoManifestError(
            f"the batch {batch_id} was not made from a manifest, so there is none to add columns to;"
            " omit --as-input"
        )
    return KeptManifest(batch_id, ingest.manifest_key, ingest.records, ingest.options)


def write_as_input(
    engine: Engine,
    bucket: Bucket,
    kept: KeptManifest,
    links: CutoutLinks | None,
    tally: WrittenRows,
    *,
    image_column: str | None = None,
) -> Iterator[bytes]:
    """Yield the file in pieces of some records. `tally` counts records by the worst state of their pictures.

    The original cells are unchanged; the added ones are escaped for spreadsheets. With `links` and
    `image_column`, the name of a rendition or form, links to that output replace the pictures' addresses.
    Raises StorageError, and ManifestError where the manifest cannot be read further.
    """
    with engine.connect() as connection:
        added = AddedColumns(links, renditions_of_batch(connection, kept.batch_id))
    with ExitStack() as stack:
        manifest = _open(stack.enter_context(bucket.open(kept.key)), kept)
        records = manifest.records
        if kept.many:
            # With the same numbers as in its ingest. A slow reader of the file holds no connection.
            first = _open(stack.enter_context(bucket.open(kept.key)), kept)
            names = stack.enter_context(spooled_final_ids(engine, first.records, IdNumbering(many=True)))
            records = names.of(records)
        writer, head = make_writer(manifest, kept.columns, added.names)
        yield head
        put = None
        if image_column is not None and links is not None:
            put = ImageColumn(image_column, links, manifest, kept.columns, tally).put
        while chunk := list(islice(records, RECORDS_A_CHUNK)):
            chunk_jobs = _ChunkJobs(engine, kept, chunk)
            found = [(record, chunk_jobs.of(record)) for record in chunk]
            yield writer.records(
                (put(record, chunk_jobs.by_picture(record)) if put else record, added.cells(record, jobs))
                for record, jobs in found
            )
            for record, jobs in found:
                tally.add(record_state(record, jobs), jobs)


def _open(stream: Any, kept: KeptManifest) -> Manifest:
    return open_manifest(
        stream,
        name=kept.key,
        encoding=kept.options.get("encoding"),
        columns=kept.columns,
        delimiter=kept.options.get("delimiter"),
        many=kept.many,
    )


class _ChunkJobs:
    """The jobs of a chunk of records, read by one query."""

    def __init__(self, engine: Engine, kept: KeptManifest, chunk: Sequence[Record]) -> None:
        self._forms = kept.forms
        names = {picture.external_id for record in chunk for picture in record.pictures}
        with engine.connect() as connection:
            jobs = connection.execute(ITS_JOBS, {"batch": kept.batch_id, "names": list(names)}).all()
        # Jobs without a recorded row are found by their external id alone.
        self._named = {
            (job.external_id, job.return_form): None if job.manifest_line is None else job.named
            for job in jobs
        }
        self._rows: dict[tuple[str | None, str], ResultRow] = {
            (row.external_id, row.return_form): row for row in read_rows(engine, [job.id for job in jobs])
        }

    def of(self, record: Record) -> RecordJobs:
        return [job for _, jobs in self.by_picture(record) for job in jobs]

    def by_picture(self, record: Record) -> PictureJobs:
        return [
            (picture, [self._job_of(picture, form) for form in self._forms_of(picture)])
            for picture in record.pictures
        ]

    def _job_of(self, picture: Picture, form: ReturnForm) -> ResultRow | None:
        """The picture's own job; a job for another picture with the same id is not."""
        named = self._named.get((picture.external_id, form))
        if named is not None and named != picture.source:
            return None
        return self._rows.get((picture.external_id, form))

    def _forms_of(self, picture: Picture) -> Sequence[ReturnForm]:
        if picture.return_form:
            return (picture.return_form,)
        return self._forms or self._existing_forms(picture) or (ReturnForm.RGBA,)

    def _existing_forms(self, picture: Picture) -> Sequence[ReturnForm]:
        return [form for form in FORMS if (picture.external_id, form) in self._rows]
