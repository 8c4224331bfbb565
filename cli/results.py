"""`cutout results`: the results of a batch as a file for a spreadsheet or a program."""

import uuid
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import Exit, err, fail
from cli.database import find_batch, open_database, plain_errors
from cli.output import NotWrittenError, shown, write
from cli.status import exit_of_batch
from cutout.enums import State
from cutout.manifests import ManifestError
from cutout.results import (
    REJECTED,
    CutoutLinks,
    Format,
    NoManifestError,
    Selection,
    find_manifest,
    open_results,
    write_as_input,
    write_results,
)
from cutout.results.formats import LINK_HOURS, MOST_LINK_HOURS
from cutout.settings import read_settings
from cutout.status.batch_status import batch_status
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
    """File that is wanted. `link_hours` is for how long its links work; None for no links."""

    selection: Selection
    form: Format
    as_input: bool
    link_hours: int | None


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
    with plain_errors():
        engine = open_database()
        with Session(engine) as session:
            batch_id = find_batch(session, batch).id
        wanted = Selection(batch_id, tuple(state or ()), tuple(code or ()))
        asked = _Asked(wanted, form or Format.CSV, as_input, link_hours if links else None)
        try:
            err.print(_say(_write(engine, asked, output), see="cutout_error" if as_input else "error_code"))
        except (NoManifestError, ManifestError, StorageError, NotWrittenError) as error:
            fail(str(error))
        raise typer.Exit(_exit(engine, batch_id))


def _write(engine: Engine, asked: _Asked, output: Path) -> Counter[str]:
    """Write the file; gives how many rows there are by what became of them."""
    tally: Counter[str] = Counter()
    with ExitStack() as stack:
        bucket = links = None
        if asked.as_input or asked.link_hours is not None:
            bucket = stack.enter_context(closing(Bucket(read_settings(), connections=1)))
        if bucket and asked.link_hours is not None:
            links = CutoutLinks(bucket, asked.link_hours)
        if bucket and asked.as_input:
            with Session(engine) as session:
                kept = find_manifest(session, asked.selection.batch_id)
            pieces, total = write_as_input(engine, bucket, kept, links, tally), kept.records
        else:
            found = stack.enter_context(open_results(engine, asked.selection))
            pieces, total = write_results(found, asked.form, links, tally), found.total
        write(output, shown(pieces, tally, total))
    return tally


def _say(tally: Counter[str], *, see: str) -> str:
    rows = tally.total()
    parts = [f"{tally[state]:,} {called.format(see)}" for state, called in CALLED.items() if tally[state]]
    written = f"{rows:,} row{'' if rows == 1 else 's'} written"
    return f"{written}; {', '.join(parts)}" if parts else written


def _exit(engine: Engine, batch_id: uuid.UUID) -> Exit:
    with Session(engine) as session:
        counted = batch_status(session, batch_id)
    return exit_of_batch(counted) if counted else Exit.FAILED
