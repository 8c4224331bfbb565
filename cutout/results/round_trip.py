"""The manifest that went in, with what became of its pictures."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, Engine, Text, Uuid, any_, bindparam, func, select
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.ingest.numbered_ids import spooled_final_ids
from cutout.ingest.sources.read_options import MANY
from cutout.ingest.sources.source import IdNumbering
from cutout.manifests import Manifest, Picture, Record, open_manifest
from cutout.models import JOBS, Ingest
from cutout.results.added_columns import Added, Found, queue_state
from cutout.results.formats import CutoutLinks
from cutout.results.rows import ResultRow, read_rows
from cutout.results.writers import make_writer
from cutout.storage import Bucket

RECORDS_A_CHUNK = 1000
FORMS = tuple(ReturnForm)

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
    """The batch has no manifest to give back."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The manifest of a batch in the bucket, and how it was read."""

    batch_id: uuid.UUID
    key: str
    records: int
    options: dict[str, Any]

    @property
    def forms(self) -> tuple[ReturnForm, ...]:
        """What was asked of a picture whose record asks for nothing; empty if nobody wrote it down."""
        return tuple(ReturnForm(form) for form in self.options.get("forms") or ())

    @property
    def many(self) -> bool:
        return bool(self.options.get(MANY))

    @property
    def columns(self) -> dict[str, str]:
        return dict(self.options.get("columns") or {})


def find_manifest(session: Session, batch_id: uuid.UUID) -> Kept:
    """Raises NoManifestError unless the batch was made of a manifest that was kept."""
    ingest = session.get(Ingest, batch_id)
    if ingest is None or ingest.manifest_key is None:
        raise NoManifestError(
            f"the batch {batch_id} was not made of a manifest, so there is none to add columns to;"
            " leave --as-input out"
        )
    return Kept(batch_id, ingest.manifest_key, ingest.records, ingest.options)


def write_as_input(
    engine: Engine, bucket: Bucket, kept: Kept, links: CutoutLinks | None, tally: Counter[str]
) -> Iterator[bytes]:
    """The file in pieces of some records each. `tally` counts records by the worst state of their pictures.

    Its own cells stay as they were; ours are safe in a spreadsheet. Raises ManifestError where the manifest
    cannot be read further, and StorageError.
    """
    added = Added(links)
    with ExitStack() as stack:
        manifest = _open(stack.enter_context(bucket.open(kept.key)), kept)
        records = manifest.records
        if kept.many:
            # As it was numbered when it went in. Whoever reads the file slowly holds no connection meanwhile.
            first = _open(stack.enter_context(bucket.open(kept.key)), kept)
            names = stack.enter_context(spooled_final_ids(engine, first.records, IdNumbering(many=True)))
            records = names.of(records)
        writer, head = make_writer(manifest, kept.columns, added.names)
        yield head
        while chunk := list(islice(records, RECORDS_A_CHUNK)):
            look = _Jobs(engine, kept, chunk)
            found = [(record, look.of(record)) for record in chunk]
            yield writer.records((record, added.cells(record, jobs)) for record, jobs in found)
            tally.update(queue_state(record, jobs) for record, jobs in found)


def _open(stream: Any, kept: Kept) -> Manifest:
    return open_manifest(
        stream,
        name=kept.key,
        encoding=kept.options.get("encoding"),
        columns=kept.columns,
        delimiter=kept.options.get("delimiter"),
        many=kept.many,
    )


class _Jobs:
    """The jobs of a chunk of records, looked up together."""

    def __init__(self, engine: Engine, kept: Kept, chunk: Sequence[Record]) -> None:
        self._forms = kept.forms
        names = {picture.external_id for record in chunk for picture in record.pictures}
        with engine.connect() as connection:
            jobs = connection.execute(ITS_JOBS, {"batch": kept.batch_id, "names": list(names)}).all()
        # A release before this one wrote no rows down: there an id is all that is known.
        self._named = {
            (job.external_id, job.return_form): None if job.manifest_line is None else job.named
            for job in jobs
        }
        self._rows: dict[tuple[str | None, str], ResultRow] = {
            (row.external_id, row.return_form): row for row in read_rows(engine, [job.id for job in jobs])
        }

    def of(self, record: Record) -> Found:
        return [
            self._job_of(picture, form) for picture in record.pictures for form in self._forms_of(picture)
        ]

    def _job_of(self, picture: Picture, form: ReturnForm) -> ResultRow | None:
        """The picture's own job: one for another picture of that id is none of it."""
        named = self._named.get((picture.external_id, form))
        if named is not None and named != picture.source:
            return None
        return self._rows.get((picture.external_id, form))

    def _forms_of(self, picture: Picture) -> Sequence[ReturnForm]:
        if picture.return_form:
            return (picture.return_form,)
        return self._forms or self._forms_made(picture) or (ReturnForm.RGBA,)

    def _forms_made(self, picture: Picture) -> Sequence[ReturnForm]:
        return [form for form in FORMS if (picture.external_id, form) in self._rows]
