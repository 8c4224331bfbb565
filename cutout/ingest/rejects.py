"""The file that says which rows were left out, and why."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.sources.readable_names import readable
from cutout.manifests import Reject
from cutout.manifests.csv_injection import safe
from cutout.storage import Bucket
from cutout.text import visible

MEDIA_TYPE = "text/csv; charset=utf-8"
COLUMNS = ["line", "column", "value", "reason"]


class RejectsFile:
    """Begun with the first reject, anew each time: a run that goes on reads the earlier rows again.

    `count` says how many there were, of which at most `most` are written down.
    """

    def __init__(self, path: Path, *, most: int | None = None, words: Callable[[str], str] = str) -> None:
        """Forget what an earlier run left under this name. Raises IngestError.

        `words` makes of a reason what those who read the file are to be told.
        """
        self.path = path
        self.count = 0
        self.first: Reject | None = None
        self._most = most
        self._words = words
        self._file: TextIO | None = None
        try:
            if path.is_file():
                _require_ours(path)
                path.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, reject: Reject) -> None:
        """Raises IngestError if it cannot be written."""
        self.count += 1
        self.first = self.first or reject
        if self._most is not None and self.count > self._most:
            return
        try:
            if self._file is None:
                self._file = self._begin()
            cells = (reject.column, reject.value, self._words(reject.reason))
            self._rows.writerow([reject.line, *(safe(visible(readable(cell))) for cell in cells)])
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Bring all to the disk's keeper, before the rows beside them are stored. Raises IngestError."""
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def keep(self, bucket: Bucket, key: str) -> None:
        """Store a copy of it. Raises IngestError or StorageError."""
        self._say_how_many()
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
        """Raises IngestError if the last of it cannot be written, unless something else went wrong before."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as trouble:
            if error is None:
                raise self._unwritable(trouble) from trouble

    def _say_how_many(self) -> None:
        if self._most is None or self.count <= self._most or self._file is None:
            return
        more = f"{self.count - self._most:,} more were rejected; the first {self._most:,} are listed"
        try:
            self._rows.writerow(["", "", "", more])
        except OSError as error:
            raise self._unwritable(error) from error

    def _begin(self) -> TextIO:
        file = self.path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)
        return file

    def _unwritable(self, error: OSError) -> IngestError:
        return IngestError(
            f"{self.path} cannot be written: {error.strerror or error}; make room, or name another file with"
            " --rejects, then give the same command again"
        )


def _require_ours(path: Path) -> None:
    """What does not begin like a file of rejects is a person's own, and is left alone."""
    begin = ",".join(COLUMNS).encode()
    with path.open("rb") as file:
        found = file.read(len(begin))
    if found and found != begin:
        raise IngestError(f"{path} is no file of rejects; move it away, or name another with --rejects")
