"""Reading what is to be ingested: a directory of pictures, or a CSV file that names them."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.enqueue import InvalidJobError, NewJob
from jobs.states import PRIORITIES, Priority, ReturnForm

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
NEEDED_COLUMNS = ("external_id", "source")
WEB = ("https://", "http://")


class ManifestError(Exception):
    """Nothing of it can be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture to be cut out: a file of this machine or a web address, and where it was named."""

    origin: str
    external_id: str
    source: Path | str
    forms: tuple[ReturnForm, ...]
    priority: Priority = Priority.NORMAL

    def to_new_jobs(self, source: str) -> list[NewJob]:
        """A job for each form, once the picture is at `source`."""
        return [NewJob(source, self.external_id, form, self.priority) for form in self.forms]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot become a job, and why."""

    origin: str
    reason: str


def read_manifest(path: Path, forms: tuple[ReturnForm, ...]) -> Iterator[Entry | Reject]:
    """Every picture of a directory or CSV file, in `forms`.

    Raises ManifestError before the first entry: a file that breaks off in its middle gives none.
    """
    if path.is_dir():
        return _read_directory(path, forms)
    if not path.is_file():
        raise ManifestError(f"{path} is neither a directory nor a file")
    if not sum(1 for _ in _read_rows(path)):
        raise ManifestError(f"{path} has no rows below its first line")
    return _without_repeats(_read_csv(path, forms))


def _read_directory(directory: Path, forms: tuple[ReturnForm, ...]) -> Iterator[Entry | Reject]:
    pictures = sorted(
        path for path in directory.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()
    )
    if not pictures:
        endings = " ".join(sorted(PICTURE_ENDINGS))
        raise ManifestError(f"{directory} holds no pictures; looked for {endings}")
    names = [str(path.relative_to(directory)) for path in pictures]
    stems = [name.removesuffix(path.suffix) for name, path in zip(names, pictures, strict=True)]
    taken = Counter(names + stems)
    for path, name, stem in zip(pictures, names, stems, strict=True):
        # shoe.jpg beside shoe.png: each keeps its ending to be told apart.
        yield _checked(Entry(str(path), stem if taken[stem] == 1 else name, path, forms))


def _read_csv(path: Path, forms: tuple[ReturnForm, ...]) -> Iterator[Entry | Reject]:
    for line, row in _read_rows(path):
        yield _read_row(f"{path.name}:{line}", row, path.parent, forms)


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Each row with the number of the line that it ends in."""
    rows = csv.DictReader(_read_lines(path), strict=True)
    read = 0
    try:
        _require_columns(path, rows.fieldnames)
        read = rows.line_num
        for row in rows:
            read = rows.line_num
            yield read, row
    except csv.Error as error:
        raise ManifestError(
            f"{path} cannot be read as CSV after line {read}: {error}; look there for a quote that is not"
            " closed, or not doubled inside quotes"
        ) from error


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                _require_utf8(path, number, line)
                yield line
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error


def _require_utf8(path: Path, number: int, line: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        # Python reads a byte that is not UTF-8 as 0xDC00 and the byte.
        byte = ord(line[error.start]) - 0xDC00
        raise ManifestError(
            f"{path} is not UTF-8 (byte 0x{byte:02X} in line {number}); save it again as `CSV UTF-8`, or"
            " convert it with `iconv -f LATIN1 -t UTF-8`"
        ) from error


def _require_columns(path: Path, columns: object) -> None:
    given = list(columns) if isinstance(columns, list | tuple) else []
    missing = [name for name in NEEDED_COLUMNS if name not in given]
    if missing:
        raise ManifestError(
            f"{path} has no column {' and no column '.join(missing)}; its first line names"
            f" {', '.join(map(repr, given)) or 'nothing'}, needed are {', '.join(NEEDED_COLUMNS)}"
        )


def _read_row(
    origin: str, row: dict[str, str | None], directory: Path, forms: tuple[ReturnForm, ...]
) -> Entry | Reject:
    try:
        source = _source(row.get("source") or "", directory)
        wanted = (_form(row["return_form"]),) if row.get("return_form") else forms
        priority = _priority(row.get("priority") or Priority.NORMAL.name.lower())
    except ValueError as error:
        return Reject(origin, str(error))
    return _checked(Entry(origin, row.get("external_id") or "", source, wanted, priority))


def _checked(entry: Entry) -> Entry | Reject:
    """What no job can be made of is said now rather than after the upload."""
    try:
        entry.to_new_jobs(entry.source if isinstance(entry.source, str) else "s3://uploaded/later")
    except InvalidJobError as error:
        return Reject(entry.origin, str(error))
    return entry


def _source(text: str, directory: Path) -> Path | str:
    if text.lower().startswith(WEB):
        return text
    if not text:
        raise ValueError("the column source is empty; name a file or an https:// address")
    try:
        path = (directory / text).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError, ValueError):
        # Too long, a circle of links, a NUL byte.
        raise ValueError(f"the source {text[:200]!r} cannot be the name of a file") from None
    if not path.is_relative_to(directory.resolve()):
        raise ValueError(
            f"the source {text!r} lies outside {directory}; put the pictures beside the CSV file"
        )
    if not is_file:
        raise ValueError(f"the source {text!r} is not a file in {directory}")
    return path


def _form(text: str | None) -> ReturnForm:
    try:
        return ReturnForm(text or "")
    except ValueError:
        raise ValueError(f"the return_form {text!r} is not one of {', '.join(ReturnForm)}") from None


def _priority(text: str) -> Priority:
    if text not in PRIORITIES:
        raise ValueError(f"the priority {text!r} is not one of {', '.join(PRIORITIES)}")
    return PRIORITIES[text]


def _without_repeats(entries: Iterator[Entry | Reject]) -> Iterator[Entry | Reject]:
    first: dict[tuple[str, ReturnForm], str] = {}
    for entry in entries:
        if isinstance(entry, Entry):
            pairs = [(entry.external_id, form) for form in entry.forms]
            if taken := next((first[pair] for pair in pairs if pair in first), None):
                reason = f"the external_id {entry.external_id!r} stands in {taken} already"
                yield Reject(entry.origin, f"{reason}; give each picture its own")
                continue
            first.update(dict.fromkeys(pairs, entry.origin))
        yield entry
