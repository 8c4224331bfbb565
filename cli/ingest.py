"""From pictures on this machine to durable jobs."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

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
        first = next(entries, None)
        if first is None:
            fail(f"{source} has no rows")
        with plain_errors():
            batch_id = _create_batch(engine, known, name or source.resolve().name)
            rejected = _enqueue(engine, bucket, chain([first], entries), batch_id, known.max_source_bytes)
    except (ManifestError, StorageError) as error:
        fail(str(error))
    if wait:
        with plain_errors():
            wait_for_batch(engine, batch_id)
    raise typer.Exit(_report(engine, batch_id, rejected=rejected, waited=wait))


def _create_batch(engine: Engine, known: Settings, name: str) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        producer_id = find_producer(session, known.api_key.get_secret_value()) if known.api_key else None
        return create_batch(session, name, producer_id=producer_id).id


def _enqueue(
    engine: Engine, bucket: Bucket, entries: Iterator[Entry | Reject], batch_id: uuid.UUID, max_bytes: int
) -> int:
    """Upload and enqueue chunk by chunk; returns how many entries were rejected."""
    rejected = 0
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        while chunk := list(islice(entries, CHUNK)):
            jobs: list[NewJob] = []
            for made in pool.map(lambda entry: _upload(bucket, entry, max_bytes), chunk):
                if isinstance(made, Reject):
                    err.print(f"rejected {made.origin}: {made.reason}")
                    rejected += 1
                else:
                    jobs += made
            with Session(engine) as session, session.begin():
                enqueue_all(session, jobs, batch_id=batch_id)
    return rejected


def _upload(bucket: Bucket, entry: Entry | Reject, max_bytes: int) -> list[NewJob] | Reject:
    if isinstance(entry, Reject):
        return entry
    if isinstance(entry.source, str):
        return entry.to_new_jobs(entry.source)
    size = entry.source.stat().st_size
    if not 0 < size <= max_bytes:
        return Reject(entry.origin, f"{entry.source} has {size} bytes; 1 to {max_bytes} are taken")
    with entry.source.open("rb") as file:
        return entry.to_new_jobs(upload_source(bucket, file))


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
