"""From pictures on this machine to durable jobs."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import Exit, err, fail, out
from cli.database import open_database, plain_errors
from cli.look import describe_batch, exit_of_batch, name_failures
from cli.manifest import Entry, ManifestError, Reject, read_manifest
from cli.watch import wait_for_batch
from jobs.batches import batch_status
from jobs.enqueue import NewJob, create_batch, enqueue_all
from jobs.producers import find_producer
from jobs.settings import Settings, settings
from jobs.sources import upload_source
from jobs.states import ReturnForm
from jobs.storage import Bucket, StorageError

CHUNK = 500
UPLOADS_AT_ONCE = 8


def ingest(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR_OR_CSV", help="Pictures, or a CSV with columns external_id, source."),
    ],
    return_form: Annotated[
        list[ReturnForm], typer.Option(help="What to get of each picture; may be repeated.")
    ] = [ReturnForm.RGBA],  # noqa: B006 - typer copies it
    name: Annotated[
        str | None, typer.Option(help="What to call the batch [default: the source's name].")
    ] = None,
    weight: Annotated[
        float, typer.Option(min=0.001, max=1000, help="Its share of the endpoint beside other batches.")
    ] = 1.0,
    budget: Annotated[
        int | None,
        typer.Option(min=0, help="Credits it may cost; jobs over it are held."),
    ] = None,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch the batch until nothing moves any more.")
    ] = False,
) -> None:
    """Enqueue a batch: upload the pictures and make a job for each. Says at once what cannot become one."""
    known, engine = settings(), open_database()
    bucket = Bucket(known, connections=UPLOADS_AT_ONCE)
    try:
        entries = read_manifest(source, tuple(dict.fromkeys(return_form)))
        with plain_errors():
            order = {"producer_id": _producer(engine, known), "weight": weight, "budget": budget}
            batch = _NewBatch(engine, name or source.resolve().name, order)
            rejected = _enqueue(bucket, entries, batch, known.max_source_bytes)
    except (ManifestError, StorageError, OSError) as error:
        fail(str(error))
    if batch.id is None:
        fail(f"{rejected:,} rejected, see above; nothing is left to enqueue", Exit.FAILED)
    if wait:
        out.print(f"batch {batch.id}: {batch.jobs:,} enqueued", markup=False)
        with plain_errors():
            wait_for_batch(engine, batch.id)
    raise typer.Exit(_report(engine, batch.id, rejected=rejected, waited=wait))


def _producer(engine: Engine, known: Settings) -> uuid.UUID | None:
    if not known.api_key:
        return None
    with Session(engine) as session:
        producer_id = find_producer(session, known.api_key.get_secret_value())
    if producer_id is None:
        fail("CUTOUT_API_KEY is no producer's key, or it was revoked; see `cutout keys list`, or unset it")
    return producer_id


@dataclass(slots=True)
class _NewBatch:
    """Made with its first jobs, in one transaction: what cannot be read leaves no empty batch behind."""

    engine: Engine
    name: str
    order: dict[str, Any]
    id: uuid.UUID | None = None
    jobs: int = 0

    def add(self, jobs: list[NewJob]) -> None:
        if not jobs:
            return
        with Session(self.engine) as session, session.begin():
            batch_id = self.id or create_batch(session, self.name, **self.order).id
            enqueue_all(session, jobs, batch_id=batch_id)
        self.id = batch_id
        self.jobs += len(jobs)


def _enqueue(bucket: Bucket, entries: Iterator[Entry | Reject], batch: _NewBatch, max_bytes: int) -> int:
    """Upload and enqueue chunk by chunk; returns how many entries were rejected."""
    rejected = 0
    try:
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            while chunk := list(islice(entries, CHUNK)):
                jobs: list[NewJob] = []
                for made in pool.map(lambda entry: _upload(bucket, entry, max_bytes), chunk):
                    if isinstance(made, Reject):
                        err.print(f"rejected {made.origin}: {made.reason}")
                        rejected += 1
                    else:
                        jobs += made
                batch.add(jobs)
    except BaseException:
        if batch.id:
            err.print(f"it broke off: its first {batch.jobs:,} jobs are enqueued, as batch {batch.id}")
            err.print(f"withdraw them with `cutout cancel {batch.id}`, or ingest only the rest")
        raise
    return rejected


def _upload(bucket: Bucket, entry: Entry | Reject, max_bytes: int) -> list[NewJob] | Reject:
    if isinstance(entry, Reject):
        return entry
    if isinstance(entry.source, str):
        return entry.to_new_jobs(entry.source)
    try:
        size = entry.source.stat().st_size
        if not 0 < size <= max_bytes:
            return Reject(entry.origin, f"{entry.source} has {size} bytes; 1 to {max_bytes} are taken")
        with entry.source.open("rb") as file:
            return entry.to_new_jobs(upload_source(bucket, file))
    except OSError as error:
        return Reject(entry.origin, f"{entry.source} cannot be read: {error.strerror}")


def _report(engine: Engine, batch_id: uuid.UUID, *, rejected: int, waited: bool) -> Exit:
    with plain_errors(), Session(engine) as session:
        batch = batch_status(session, batch_id)
        if batch is None:
            fail(f"the batch {batch_id} is gone")
        describe_batch(batch)
        if waited:
            name_failures(session, batch)
    if rejected:
        err.print(f"{rejected:,} rejected, see above; mend them and ingest them as another batch")
    if not waited:
        out.print(f"it goes on by itself; look again with `cutout status {batch_id}`")
        return Exit.FAILED if rejected else Exit.SUCCEEDED
    return Exit.FAILED if rejected else exit_of_batch(batch)
