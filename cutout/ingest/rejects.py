"""Rejects of an ingest: the CSV file of rows left out with their reasons, and rejects for conflicting ids."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from cutout.ingest.ingest_errors import IngestError
from cutout.manifests import Reject
from cutout.manifests.csv_injection import escape_cell
from cutout.manifests.field_rules import readable
from cutout.manifests.records import reject
from cutout.storage import Bucket
from cutout.text import visible

MEDIA_TYPE = "text/csv; charset=utf-8"
COLUMNS = ["line", "column", "value", "reason"]


class RejectsFile:
    """The rejects file, started with the first reject and rewritten by each run: a resumed run reads earlier
    rows again.

    `count` is the number of rejects, of which at most `most` are written.
    """

    def __init__(
        self, path: Path, *, most: int | None = None, reason_text: Callable[[str], str] = str
    ) -> None:
        """Remove the file of an earlier run with this name. Raises IngestError.

        `reason_text` turns a reason into the text written for the file's readers.
        """
        self.path = path
        self.count = 0
        self.first: Reject | None = None
        self._most = most
        self._reason_text = reason_text
        self._file: TextIO | None = None
        try:
            if path.is_file():
                _require_ours(path)
                path.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, reject: Reject) -> None:
        """Write a reject. Raises IngestError if it cannot be written."""
        self.count += 1
        self.first = self.first or reject
        if self._most is not None and self.count > self._most:
            return
        try:
            if self._file is None:
                self._file = self._create()
            cells = (reject.column, reject.value, self._reason_text(reject.reason))
            self._rows.writerow([reject.line, *(escape_cell(visible(readable(cell))) for cell in cells)])
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Flush to the operating system, before the rows read with these rejects are stored. Raises
        IngestError.
        """
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def keep(self, bucket: Bucket, key: str) -> None:
        """Store a copy of the file in the bucket. Raises IngestError or StorageError."""
        self._write_overflow()
        self.flush()
        try:
            bucket.put_file(self.path, key=key, media_type=MEDIA_TYPE)
        except OSError as error:
            raise IngestError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file. Raises IngestError if the end cannot be written, unless another error is being
        raised.
        """
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as failure:
            if error is None:
                raise self._unwritable(failure) from failure

    def _write_overflow(self) -> None:
        if self._most is None or self.count <= self._most or self._file is None:
            return
        more = f"{self.count - self._most:,} more were rejected; the first {self._most:,} are listed"
        try:
            self._rows.writerow(["", "", "", more])
        except OSError as error:
            raise self._unwritable(error) from error

    def _create(self) -> TextIO:
        file = self.path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)
        return file

    def _unwritable(self, error: OSError) -> IngestError:
        return IngestError(
            f"{self.path} cannot be written: {error.strerror or error}; make room, or name another file with"
            " --rejects, then run the same command again"
        )


def _require_ours(path: Path) -> None:
    """Raise IngestError if the file does not start like a rejects file: it is someone else's file."""
    header = ",".join(COLUMNS).encode()
    with path.open("rb") as file:
        found = file.read(len(header))
    if found and found != header:
        raise IngestError(f"{path} is not a rejects file; move it away, or name another with --rejects")


ID_COLUMN = "external_id"


class Conflict(NamedTuple):
    """A picture whose external id and form belong to another one; `first_line` is None if that one has no
    line.
    """

    line: int
    external_id: str
    first_line: int | None


def conflict_rejects(conflicts: Iterable[Conflict]) -> list[Reject]:
    """Return one reject per picture, even if several of its forms conflict."""
    return [_reject(conflict) for conflict in dict.fromkeys(conflicts)]


def _reject(conflict: Conflict) -> Reject:
    first = "a job of the batch" if conflict.first_line is None else f"line {conflict.first_line}"
    return reject(
        conflict.line,
        ID_COLUMN,
        conflict.external_id,
        f"is the id of two pictures: {first} names one and line {conflict.line} another; give each an id"
        " of its own, or use `--many` if they are pictures of one product",
    )


def reject_generated_id(line: int, external_id: str, lines: tuple[int, int]) -> Reject:
    """Return the reject for a generated id that is equal to another picture's id."""
    first, second = lines
    return reject(
        line,
        ID_COLUMN,
        external_id,
        f"is the id of two pictures: it was generated for one, and lines {first} and {second} name both; give"
        " one of them another id",
    )
