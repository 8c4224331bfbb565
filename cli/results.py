"""What became of a batch, as a file that a spreadsheet reads."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer
from sqlalchemy.orm import Session

from cli.console import Exit, err, fail
from cli.database import find_batch, open_database, plain_errors
from cli.look import exit_of_batch
from jobs.batches import batch_rows, batch_status
from jobs.models import Batch

COLUMNS = (
    "external_id", "return_form", "state", "key", "sha256", "media_type", "width", "height", "size_bytes",
    "credits", "attempts", "error_code", "error_message", "request_id", "job_id",
)  # fmt: skip
# A spreadsheet takes a cell that begins so for a formula and runs it.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def results(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id, or its beginning.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", dir_okay=False, help="The CSV file to write; - for standard output."),
    ] = Path("-"),
) -> None:
    """Write a batch's jobs as CSV: state, key, size, credits, and why what failed did."""
    with plain_errors(), Session(open_database()) as session:
        found = find_batch(session, batch)
        with _opened(output) as file:
            written = _write_rows(session, found, file)
        err.print(f"{written:,} rows written")
        counted = batch_status(session, found.id)
        raise typer.Exit(exit_of_batch(counted) if counted else Exit.FAILED)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdout
        return
    # Written beside and renamed: a file of the name is whole or not there.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    finally:
        with suppress(OSError):
            partial.unlink()


def _write_rows(session: Session, batch: Batch, file: TextIO) -> int:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    written = 0
    for job, attempts, charged, request_id in batch_rows(session, batch.id):
        fields = {
            **{name: getattr(job, name) for name in COLUMNS if hasattr(job, name)},
            "sha256": job.sha256.hex() if job.sha256 else None,
            "credits": charged,
            "attempts": attempts,
            "error_code": job.code,
            "error_message": job.message,
            "request_id": request_id,
            "job_id": job.id,
        }
        writer.writerow(_safe(fields[name]) for name in COLUMNS)
        written += 1
    return written


def _safe(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
