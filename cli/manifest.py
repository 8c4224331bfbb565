"""Reading what is to be ingested: a directory of pictures, or a CSV file that names them."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.enqueue import InvalidJobError, NewJob
from jobs.states import Priority, ReturnForm

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
NEEDED_COLUMNS = ("external_id", "source")
WEB = ("https://", "http://")
PRIORITIES = {priority.name.lower(): priority for priority in Priority}


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
    """Every picture of a directory or CSV file, in `forms`; raises ManifestError if none can be read."""
    if path.is_dir():
        return _read_directory(path, forms)
    if path.is_file():
        return _without_repeats(_read_csv(path, forms))
    raise ManifestError(f"{path} is neither a directory nor a file")


def _read_directory(directory: Path, forms: tuple[ReturnForm, ...]) -> Iterator[Entry | Reject]:
    pictures = sorted(
        path for path in directory.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()
    )
    if not pictures:
        endings = " ".join(sorted(PICTURE_ENDINGS))
        raise ManifestError(f"{directory} holds no pictures; looked for {endings}")
    names = [str(path.relative_to(directory).with_suffix("")) for path in pictures]
    seen = Counter(names)
    for path, name in zip(pictures, names, strict=True):
        # shoe.jpg beside shoe.png: each keeps its ending to be told apart.
        external_id = name if seen[name] == 1 else str(path.relative_to(directory))
        yield Entry(str(path), external_id, path, forms)


def _read_csv(path: Path, forms: tuple[ReturnForm, ...]) -> Iterator[Entry | Reject]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            _require_columns(path, rows.fieldnames)
            for row in rows:
                yield from _read_row(f"{path.name}:{rows.line_num}", row, path.parent, forms)
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise ManifestError(
            f"{path} is not UTF-8 (byte 0x{wrong:02X}); save it again as `CSV UTF-8`, or convert it with"
            f" `iconv -f LATIN1 -t UTF-8`"
        ) from error
    except csv.Error as error:
        raise ManifestError(f"{path} cannot be read as CSV: {error}") from error


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
) -> Iterator[Entry | Reject]:
    try:
        source = _source(row.get("source") or "", directory)
        wanted = (_form(row["return_form"]),) if row.get("return_form") else forms
        priority = _priority(row.get("priority") or Priority.NORMAL.name.lower())
        entry = Entry(origin, row.get("external_id") or "", source, wanted, priority)
        # Said now rather than after the upload.
        entry.to_new_jobs(source if isinstance(source, str) else "s3://uploaded/later")
        yield entry
    except (ValueError, InvalidJobError) as error:
        yield Reject(origin, str(error))


def _source(text: str, directory: Path) -> Path | str:
    if text.lower().startswith(WEB):
        return text
    if not text:
        raise ValueError("the column source is empty; name a file or an https:// address")
    path = (directory / text).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise ValueError(
            f"the source {text!r} lies outside {directory}; put the pictures beside the CSV file"
        )
    if not path.is_file():
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
