"""`cutout results`: the results of a batch as a file for a spreadsheet or a program."""

import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import Exit, err, fail
from cli.database import find_batch, open_database, plain_errors
from cli.numbers import counted
from cli.output import NotWrittenError, shown, write
from cli.status import exit_of_batch
from cutout.enums import ReturnForm, State
from cutout.manifests import ManifestError
from cutout.results import (
    REJECTED,
    CutoutLinks,
    Format,
    NoManifestError,
    Selection,
    WrittenRows,
    find_manifest,
    open_results,
    write_as_input,
    write_results,
)
from cutout.results.links import LINK_HOURS, MOST_LINK_HOURS
from cutout.settings import read_settings
from cutout.status.batch_status import batch_status
from cutout.status.outputs import renditions_of_batch
from cutout.storage import Bucket, StorageError

# What a row's state is called in the last line, in its order.
CALLED = {
    State.SUCCEEDED: "with a cutout",
    State.FAILED: "failed (see {})",
    State.HELD: "held (see {})",
    State.QUEUED: "waiting",
    State.RUNNING: "running",
    State.CANCELLED: "cancelled",
    REJECTED: "rejected (see {})",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """File that is wanted. `link_hours` is for how long its links work; None for no links.

    `image_column` is the output whose links replace the addresses of the pictures.
    """

    selection: Selection
    form: Format
    as_input: bool
    link_hours: int | None
    image_column: str | None


def results(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="A batch's id, or the beginning of it.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", dir_okay=False, help="File to write; - is standard output."),
    ] = Path("-"),
    form: Annotated[
        Format | None, typer.Option("--format", help="CSV, or one JSON object a line.", show_default="csv")
    ] = None,
    *,
    as_input: Annotated[
        bool,
        typer.Option("--as-input", help="Write the manifest that was ingested, with columns cutout_… added."),
    ] = False,
    links: Annotated[bool, typer.Option("--links", help="Add links from which anyone can download.")] = False,
    link_hours: Annotated[
        int, typer.Option(min=1, max=MOST_LINK_HOURS, help="Hours for which the links work.")
    ] = LINK_HOURS,
    image_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --as-input and --links: put links to this rendition, or to this form, in place of the"
            " pictures' addresses, for instance into Image Src of a Shopify export.",
        ),
    ] = None,
    state: Annotated[
        list[State] | None, typer.Option(help="Only jobs in this state; may be repeated.")
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only jobs with this error code; may be repeated."),
    ] = None,
) -> None:
    """Write the results of a batch as CSV or NDJSON.

    Each row has a job's state, key, size and credits, and the reason of a failure.
    """
    if as_input and (form or state or code):
        fail("--as-input gives the whole manifest in its own format; leave --format, --state and --code out")
    if image_column and not (as_input and links):
        fail("--image-column puts links into the manifest that was ingested; add --as-input --links")
    with plain_errors():
        engine = open_database()
        with Session(engine) as session:
            batch_id = find_batch(session, batch).id
            if image_column:
                _require_output(session, batch_id, image_column)
        wanted = Selection(batch_id, tuple(state or ()), tuple(code or ()))
        asked = _Asked(wanted, form or Format.CSV, as_input, link_hours if links else None, image_column)
        try:
            err.print(_say(_write(engine, asked, output), see="cutout_error" if as_input else "error_code"))
        except (NoManifestError, ManifestError, StorageError, NotWrittenError) as error:
            fail(str(error))
        raise typer.Exit(_exit(engine, batch_id))


def _require_output(session: Session, batch_id: uuid.UUID, name: str) -> None:
    """End the command unless the batch has such a rendition, or it is a form."""
    renditions = renditions_of_batch(session, batch_id)
    if name not in renditions and name not in set(ReturnForm):
        known = ", ".join((*renditions, *ReturnForm))
        fail(f"--image-column: the batch has no output {name!r}; name one of {known}")


def _write(engine: Engine, asked: _Asked, output: Path) -> WrittenRows:
    """Write the file; gives how many rows and outputs there are by what became of them."""
    tally = WrittenRows()
    with ExitStack() as stack:
        bucket = links = None
        if asked.as_input or asked.link_hours is not None:
            bucket = stack.enter_context(closing(Bucket(read_settings(), connections=1)))
        if bucket and asked.link_hours is not None:
            links = CutoutLinks(bucket, asked.link_hours)
        if bucket and asked.as_input:
            with Session(engine) as session:
                kept = find_manifest(session, asked.selection.batch_id)
            pieces = write_as_input(engine, bucket, kept, links, tally, image_column=asked.image_column)
            total = kept.records
        else:
            found = stack.enter_context(open_results(engine, asked.selection))
            pieces = write_results(found, asked.form, links, tally, renditions=found.renditions)
            total = found.total
        write(output, shown(pieces, tally.rows, total))
    return tally


def _say(tally: WrittenRows, *, see: str) -> str:
    rows = tally.rows
    parts = [f"{rows[state]:,} {called.format(see)}" for state, called in CALLED.items() if rows[state]]
    text = f"{counted(rows.total(), 'row')} written"
    text += f"; {', '.join(parts)}" if parts else ""
    if tally.waiting_outputs:
        text += f"; {counted(tally.waiting_outputs, 'output')} still to be made"
    if tally.failed_outputs:
        text += f"; {counted(tally.failed_outputs, 'output')} failed"
    if tally.links or tally.kept:
        text += f"; {counted(tally.links, 'picture')} linked"
    if tally.kept:
        text += f", {tally.kept:,} kept their address because the output is not made"
    return text


def _exit(engine: Engine, batch_id: uuid.UUID) -> Exit:
    with Session(engine) as session:
        batch = batch_status(session, batch_id)
    return exit_of_batch(batch) if batch else Exit.FAILED
