"""Writers of manifest records with added values, in the format of the input."""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from cutout.manifests import Manifest, Record
from cutout.manifests.csv_injection import escape_cell
from cutout.manifests.detect import GOOGLE
from cutout.results.added_columns import is_added

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
COMMA = ","

Written = tuple[Record, Sequence[str]]
"""A record and the added values."""


class Writer:
    """Encodes records; `head` comes first. Characters that the encoding lacks become `?` in added values."""

    def __init__(
        self, encoding: str, head: Sequence[Sequence[str]], lines: Callable[[Iterable[Written]], str]
    ) -> None:
        self._encoder = codecs.getincrementalencoder(encoding)("replace")
        self._head = head
        self._lines = lines

    def head(self, delimiter: str) -> bytes:
        return self._encoder.encode(_delimited(self._head, delimiter))

    def records(self, records: Iterable[Written]) -> bytes:
        return self._encoder.encode(self._lines(records))


def make_writer(manifest: Manifest, columns: Mapping[str, str], names: Sequence[str]) -> tuple[Writer, bytes]:
    """The writer for a manifest's records with added columns `names`, and the file's first bytes."""
    if manifest.delimiter is not None:
        cells = _DelimitedCells(manifest.header, manifest.delimiter, names)
        writer = Writer(manifest.encoding, [cells.header()], cells)
        return writer, writer.head(manifest.delimiter)
    if manifest.kind == GOOGLE:
        feed = _FeedCells(columns, names)
        writer = Writer("utf-8", [feed.header()], feed)
        return writer, writer.head(COMMA)
    writer = Writer(manifest.encoding, [], _Objects(names))
    return writer, writer.head(COMMA)


def _delimited(rows: Iterable[Iterable[object]], delimiter: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue()


class _DelimitedCells:
    """The original cells, then the added ones. Added columns of an earlier output are replaced."""

    def __init__(self, header: Sequence[str], delimiter: str, names: Sequence[str]) -> None:
        self._kept = [index for index, name in enumerate(header) if not is_added(name.strip())]
        self._header = [header[index] for index in self._kept]
        self._width = len(header)
        self._names = names
        self._delimiter = delimiter

    def header(self) -> list[str]:
        return [*self._header, *self._names]

    def __call__(self, records: Iterable[Written]) -> str:
        rows = (self._row(tuple(record.cells), added) for record, added in records)
        return _delimited(rows, self._delimiter)

    def _row(self, cells: Sequence[str], added: Sequence[str]) -> Iterable[object]:
        if not any(map(str.strip, cells[self._width :])):
            # A spreadsheet may write more empty cells than the header has.
            cells = cells[: self._width]
        if len(cells) > self._width:
            # A rejected row: added cells would be under the wrong names, and its own may not be moved.
            return cells
        cells = [*cells, *[""] * (self._width - len(cells))]
        return [*(cells[index] for index in self._kept), *map(escape_cell, added)]


class _FeedCells:
    """CSV cells for an XML feed: the item's id, its pictures, and the added values."""

    def __init__(self, columns: Mapping[str, str], names: Sequence[str]) -> None:
        self._id = columns.get("external_id", "id")
        self._image = columns.get("source", "image_link")
        self._names = names

    def header(self) -> list[str]:
        return ["id", "image_link", "additional_image_link", *self._names]

    def __call__(self, records: Iterable[Written]) -> str:
        return _delimited((self._row(record, added) for record, added in records), COMMA)

    def _row(self, record: Record, added: Sequence[str]) -> Iterable[object]:
        texts = record.cells if isinstance(record.cells, dict) else {}
        external_id, image = (_texts(texts, name)[:1] for name in (self._id, self._image))
        additional = _texts(texts, "additional_image_link")
        return map(escape_cell, ["".join(external_id), "".join(image), ",".join(additional), *added])


def _texts(texts: Mapping[str, list[str]], name: str) -> list[str]:
    return texts.get(f"g:{name}") or texts.get(name) or []


class _Objects:
    """NDJSON objects with added keys; a line that is no object stays unchanged."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __call__(self, records: Iterable[Written]) -> str:
        return "".join(f"{self._line(record, added)}\n" for record, added in records)

    def _line(self, record: Record, added: Sequence[str]) -> str:
        if isinstance(record.cells, tuple):
            return record.cells[0]
        values = {name: value or None for name, value in zip(self._names, added, strict=True)}
        found = {name: value for name, value in record.cells.items() if not is_added(name)} | values
        line = json.dumps(_finite(found), ensure_ascii=False, allow_nan=False)
        return json.dumps(_finite(found)) if LONE_SURROGATE.search(line) else line


def _finite(found: dict[str, object]) -> dict[str, object]:
    # A number too large for a float was read as infinity, which JSON cannot express.
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }
