"""`cutout ingest`: a batch of jobs from pictures, wherever they are."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.actor import asked
from cli.console import Exit, err, fail, out
from cli.database import open_database, plain_errors
from cli.estimate_text import print_estimate, print_remarks, print_skipped
from cli.ingest_options import (
    BEFORE_SPENDING,
    OF_A_MANIFEST,
    ColumnsOption,
    DelimiterOption,
    EncodingOption,
    ExcludeOption,
    FileNameOption,
    FormsOption,
    FullSizeOption,
    IncludeOption,
    ManyOption,
    OutputsOption,
    columns_of,
    complete_outputs,
    delimiter_of,
    one_of_priorities,
    outputs_of,
    patterns_of,
    producer_of,
)
from cli.names import plain_name
from cli.numbers import counted
from cli.output_summary import describe_outputs
from cli.progress import Meter
from cli.status import describe_batch, exit_of_batch, name_failures
from cli.wait import wait_for_batch
from cutout.actions.adding import added_by
from cutout.endpoint.client import call_url
from cutout.enums import PRIORITIES, JobMessages, ReturnForm, Reuse
from cutout.images.image import PREPARATION
from cutout.ingest import (
    Counts,
    Ingest,
    Ingested,
    IngestError,
    IngestOptions,
    ReadOptions,
    RejectsFile,
    StrictError,
    estimate,
    open_source,
)
from cutout.ingest.sources.source import Source
from cutout.manifests import ManifestError
from cutout.queue.reuse.identity import Recipe, scope_of
from cutout.settings import Settings, read_settings
from cutout.status.batch_status import batch_status
from cutout.storage import Bucket, StorageError
from cutout.text import visible
from cutout.webhooks import InvalidWebhookError, require_webhooks

CONNECTIONS_TO_BUCKET = 10


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A directory or zip of pictures, s3://bucket/prefix, or a manifest: CSV, TSV, NDJSON, a"
            " Shopify product export, a Google Merchant feed. docs/how-to/exports/ has the mapping"
            " for each shop system.",
        ),
    ],
    *,
    return_form: Annotated[
        list[ReturnForm], typer.Option(help="Form of the cutouts that you get; may be repeated.")
    ] = [ReturnForm.RGBA],  # noqa: B006 - typer copies it
    forms: FormsOption = None,
    full_size: FullSizeOption = None,
    output: OutputsOption = None,
    file_name: FileNameOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the batch.", show_default="the source's name")
    ] = None,
    weight: Annotated[
        float, typer.Option(min=0.001, max=1000, help="Share of the calls, relative to other batches.")
    ] = 1.0,
    budget: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The most credits it may cost; jobs over it are held.",
            rich_help_panel=BEFORE_SPENDING,
        ),
    ] = None,
    priority: Annotated[
        str, typer.Option(help=f"{', '.join(PRIORITIES)}; a row may have its own.")
    ] = "normal",
    map_: ColumnsOption = "",
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    many: ManyOption = False,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    rejects: Annotated[Path, typer.Option(help="File for rejected rows, each with the reason.")] = Path(
        "rejects.csv"
    ),
    keys: Annotated[
        bool,
        typer.Option(
            "--keys",
            help="Sources without a scheme are keys in the bucket, not files.",
            rich_help_panel=OF_A_MANIFEST,
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first rejected row.")] = False,
    reuse: Annotated[
        bool, typer.Option(help="Use cutouts that were bought before.", rich_help_panel=BEFORE_SPENDING)
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what it would cost, and store nothing.", rich_help_panel=BEFORE_SPENDING
        ),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Hold all jobs until `cutout approve`.", rich_help_panel=BEFORE_SPENDING),
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL to notify when the batch ends; see docs/how-to/webhooks.md."),
    ] = None,
    webhook_jobs: Annotated[
        JobMessages, typer.Option(help="Messages that the webhook gets about single jobs.")
    ] = JobMessages.NONE,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until every job is finished or held, and its outputs are made."),
    ] = False,
    no_outputs: Annotated[
        bool, typer.Option("--no-outputs", help="With --wait: do not wait for outputs.")
    ] = False,
) -> None:
    """Enqueue a batch: a job for each picture.

    If it is interrupted, run the same command again to resume.

    [bold]Accepted[/] are JPEG, PNG, WEBP, TIFF, BMP and GIF, recognized by their content, not their file
    names; HEIC and AVIF where this installation can decode them.

    [bold]Skipped[/], and counted by reason, are files that are not pictures, camera raw, PSD; system folders
    and hidden copies (@eaDir, #recycle, $RECYCLE.BIN, .Trash-…, __MACOSX, ._…); files that --exclude matches
    or --include does not.

    [bold]Rejected[/], each with its line and reason in rejects.csv, are rows without an id or a picture; an
    id that two rows give to different pictures, unless --many numbers them; missing, empty and too large
    files; addresses that can never work; products of a Shopify export without any picture. Identical rows
    are counted as duplicates.

    [bold]Refused[/] as a whole, with nothing stored, are files that are neither text nor an archive, or
    incomplete; archives that unpack to too much; pipes and devices.
    """
    known, engine = read_settings(), open_database()
    with plain_errors():
        producer_id = producer_of(engine, known)
    order = IngestOptions(
        plain_name("--name", name) if name else _name_of(source),
        forms=tuple(dict.fromkeys(return_form)),
        priority=PRIORITIES[one_of_priorities(priority)],
        weight=weight,
        budget=budget,
        reuse=reuse,
        plan=plan,
        strict=strict,
        outputs=complete_outputs(
            outputs_of(forms, full_size=full_size, outputs=output, file_name=file_name), known
        ),
        reading=ReadOptions(
            columns_of(map_),
            encoding,
            keys,
            delimiter=delimiter_of(delimiter),
            many=many,
            include=patterns_of("--include", include),
            exclude=patterns_of("--exclude", exclude),
        ),
        producer_id=producer_id,
        webhook_url=_webhook(known, webhook),
        webhook_jobs=webhook_jobs,
    )
    bucket = Bucket(known, connections=CONNECTIONS_TO_BUCKET)
    with _plain_ends(), plain_errors():
        opened = open_source(source, order.reading, known, bucket)
        with closing(opened), RejectsFile(rejects) as file:
            if dry_run:
                raise typer.Exit(_estimate(opened, order, known, file, (engine, bucket)))
            # Before money is spent; some are known only once all is read.
            before = opened.remarks()
            print_remarks(before)
            done = _ingest(Ingest(engine, bucket, opened, order, file, at_begin=added_by(asked(), source)))
            print_remarks([remark for remark in opened.remarks() if remark not in before])
            print_skipped(opened.skipped.as_json())
    waiting = _Waiting(wait, not no_outputs)
    raise typer.Exit(_report(engine, done, rejects, order, skipped=opened.skipped.total, waiting=waiting))


class _Waiting(NamedTuple):
    """Whether the command waits for the jobs, and then also for their outputs."""

    for_jobs: bool
    outputs: bool


def _name_of(source: str) -> str:
    """The last word of it, with what is no text or not seen written out."""
    word = source if source.startswith("s3://") else str(Path(source).resolve())
    return visible(word.rstrip("/").rpartition("/")[2].encode(errors="replace").decode()) or visible(source)


def _webhook(settings: Settings, url: str | None) -> str | None:
    try:
        if url is not None:
            require_webhooks(settings, url)
    except InvalidWebhookError as error:
        fail(f"--webhook: {error}")
    return url


@contextmanager
def _plain_ends() -> Iterator[None]:
    """One line for what keeps a source from being read."""
    try:
        yield
    except StrictError as error:
        fail(f"stopped by --strict at {error}", Exit.FAILED)
    except (IngestError, ManifestError, StorageError) as error:
        fail(str(error))


def _estimate(
    source: Source,
    order: IngestOptions,
    settings: Settings,
    rejects: RejectsFile,
    stores: tuple[Engine, Bucket],
) -> Exit:
    engine, bucket = stores
    out.print(f"{source.kind} · {source.extent.total:,} {source.extent.unit}", markup=False)

    with Meter() as meter:
        scope = scope_of(settings.reuse, order.producer_id)
        made_by = Recipe(call_url(settings.endpoint_url), PREPARATION, settings.s3_bucket, scope)
        recipe = made_by if order.reuse and settings.reuse is not Reuse.OFF else None
        found = estimate(engine, bucket, source, order, recipe, on_reject=rejects.add, watch=meter.show)
    rejects.flush()
    with Session(engine) as session:
        print_estimate(session, found, settings, rejects.path, outputs=order.outputs.most_of(order.forms))
    return Exit.FAILED if found.counts.rejects else Exit.SUCCEEDED


def _ingest(run: Ingest) -> Ingested:
    try:
        with Meter() as meter:
            return run.run(on_resume=_say_it_goes_on, watch=meter.show)
    except KeyboardInterrupt:
        _say_what_is_stored(run)
        fail("interrupted; the same command resumes where it stopped", Exit.UNFINISHED)
    except BaseException:
        _say_what_is_stored(run)
        raise


def _say_it_goes_on(batch_id: uuid.UUID, counts: Counts) -> None:
    err.print(
        f"batch {batch_id} continues: {counts.records:,} rows were read, {counts.jobs:,} jobs are enqueued"
    )


def _say_what_is_stored(run: Ingest) -> None:
    if run.batch_id:
        err.print(f"it broke off: {run.counts.jobs:,} jobs are enqueued, as batch {run.batch_id}")
        err.print(f"the same command continues it; `cutout cancel {run.batch_id}` withdraws it")


def _report(
    engine: Engine, done: Ingested, rejects: Path, order: IngestOptions, *, skipped: int, waiting: "_Waiting"
) -> Exit:
    counts = done.counts
    if done.batch_id is None:
        fail(f"{counts.rejects:,} rejected, see {rejects}; nothing is left to enqueue", Exit.FAILED)
    out.print(
        f"batch {done.batch_id}: {counts.jobs:,} enqueued, {counts.rejects:,} rejected,"
        f" {counted(counts.duplicates, 'duplicate')}{f', {skipped:,} skipped' if skipped else ''}",
        markup=False,
    )
    if counts.rejects:
        err.print(f"{counts.rejects:,} rejected, see {rejects}; fix them and ingest them as another batch")
    if order.plan:
        out.print(f"nothing is called before `cutout approve {done.batch_id}`")
    elif not waiting.for_jobs:
        out.print(f"it continues by itself; check it with `cutout status {done.batch_id}`")
    ended = Exit.SUCCEEDED
    if waiting.for_jobs and not order.plan:
        ended = _wait(engine, done.batch_id, outputs=waiting.outputs)
    return Exit.FAILED if counts.rejects else ended


def _wait(engine: Engine, batch_id: uuid.UUID, *, outputs: bool) -> Exit:
    with plain_errors():
        wait_for_batch(engine, batch_id, outputs=outputs)
        with Session(engine) as session:
            batch = batch_status(session, batch_id)
            if batch is None:
                fail(f"the batch {batch_id} is gone")
            describe_batch(batch)
            name_failures(session, batch)
            describe_outputs(session, batch)
    return exit_of_batch(batch, outputs=outputs)
