"""A file that a command writes, or standard output."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.console import err

WORTH_A_BAR = 20_000


class NotWrittenError(Exception):
    """The file cannot be written; the text names it and the system's reason."""


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that is whole or not there; `-` is standard output. Raises NotWrittenError."""
    if str(path) == "-":
        _to_standard_output(pieces)
        return
    # Written beside and renamed.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(path)
    except OSError as error:
        raise NotWrittenError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _to_standard_output(pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Also where the reader, `head` for one, has enough: Python would complain once more at the end.
        sys.stdout = None
        raise NotWrittenError(f"standard output cannot be written: {error.strerror}") from error


def shown(pieces: Iterable[bytes], tally: Counter[str], total: int) -> Iterator[bytes]:
    """Yield the pieces, with a bar on a terminal if there is much to write."""
    if not err.is_terminal or total < WORTH_A_BAR:
        yield from pieces
        return
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("rows", total=total)
        for piece in pieces:
            yield piece
            progress.update(bar, completed=tally.total())
