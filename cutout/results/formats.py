"""Results files: CSV for spreadsheets, NDJSON for programs."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum

from cutout.manifests.csv_injection import escape_cell
from cutout.results.rows import ResultRow
from cutout.storage import Bucket, shown_as

LINK_HOURS = 24
# S3 signs no link for longer than a week.
MOST_LINK_HOURS = 168


class CutoutLinks:
    """Signed links to cutouts, all valid until `expires_at`."""

    def __init__(self, bucket: Bucket, hours: int = LINK_HOURS) -> None:
        """Begin the links' validity now. Raises StorageError if there are no credentials to sign with."""
        self._signer = bucket.signer(seconds=hours * 3600)
        self.expires_at = self._signer.signed_at + timedelta(hours=hours)

    def to(self, key: str, media_type: str | None = None) -> str:
        """The link to one cutout, which a browser displays."""
        return self._signer.link(key, parameters=shown_as(key, media_type))


COLUMNS = ResultRow._fields[:-1]
LINK_COLUMNS = ("url", "url_expires_at")
AFTER_KEY = COLUMNS.index("key") + 1
REUSED = COLUMNS.index("reused")


class Format(StrEnum):
    """Format of a results file."""

    CSV = "csv"
    NDJSON = "ndjson"


MEDIA_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.NDJSON: "application/x-ndjson"}

Pages = Iterable[list[ResultRow]]


def write_results(
    pages: Pages, form: Format, links: CutoutLinks | None = None, tally: Counter[str] | None = None
) -> Iterator[bytes]:
    """Yield the file in pieces of one page each. `tally` counts the written rows by state.

    In CSV, cells that a spreadsheet would run as formulas begin with an apostrophe. NDJSON also has the
    manifest's other fields, as the object `details`. With `links` both have `url` and `url_expires_at`.
    """
    write = _write_csv if form is Format.CSV else _write_ndjson
    if form is Format.CSV:
        yield _encoded([_header(with_links=links is not None)])
    for page in pages:
        yield write(page, links)
        if tally is not None:
            tally.update(row.state for row in page)


def _header(*, with_links: bool) -> tuple[str, ...]:
    return (*COLUMNS[:AFTER_KEY], *(LINK_COLUMNS if with_links else ()), *COLUMNS[AFTER_KEY:])


def _write_csv(page: list[ResultRow], links: CutoutLinks | None) -> bytes:
    return _encoded(_cells(row, links) for row in page)


def _encoded(rows: Iterable[Iterable[object]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _cells(row: ResultRow, links: CutoutLinks | None) -> tuple[object, ...]:
    # The other cells are numbers and fixed words, which no spreadsheet runs.
    cells: tuple[object, ...] = row._replace(
        external_id=escape_cell(row.external_id),
        key=escape_cell(row.key),
        media_type=escape_cell(row.media_type),
        error_code=escape_cell(row.error_code),
        error_message=escape_cell(row.error_message),
        warning=escape_cell(row.warning),
        request_id=escape_cell(row.request_id),
    )[:-1]
    cells = (*cells[:REUSED], "true" if row.reused else "false", *cells[REUSED + 1 :])
    return (*cells[:AFTER_KEY], *_link(row, links), *cells[AFTER_KEY:]) if links else cells


def _write_ndjson(page: list[ResultRow], links: CutoutLinks | None) -> bytes:
    return "".join(_line(row, links) for row in page).encode()


def _line(row: ResultRow, links: CutoutLinks | None) -> str:
    values: tuple[object, ...] = row[:-1]
    if links:
        values = (*values[:AFTER_KEY], *_link(row, links), *values[AFTER_KEY:])
    names = _header(with_links=links is not None)
    written = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False)
    return f'{written[:-1]}, "details": {row.details or "null"}}}\n'


def _link(row: ResultRow, links: CutoutLinks) -> tuple[str | None, str | None]:
    return (links.to(row.key, row.media_type), links.expires_at.isoformat()) if row.key else (None, None)
