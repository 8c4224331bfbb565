"""Results as a file: CSV for spreadsheets, NDJSON for programs."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum

from jobs.results_manifest.formulas import safe
from jobs.results_manifest.links import CutoutLinks
from jobs.results_manifest.rows import ResultRow

COLUMNS = ResultRow._fields[:-1]
LINK_COLUMNS = ("url", "url_expires_at")
AFTER_KEY = COLUMNS.index("key") + 1


class Format(StrEnum):
    """How results are written."""

    CSV = "csv"
    NDJSON = "ndjson"


MEDIA_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.NDJSON: "application/x-ndjson"}

Pages = Iterable[list[ResultRow]]


def write_results(
    pages: Pages, form: Format, links: CutoutLinks | None = None, tally: Counter[str] | None = None
) -> Iterator[bytes]:
    """The file in pieces of a page each. `tally` counts the rows written by state.

    In CSV a cell that a spreadsheet would run is led by an apostrophe. NDJSON also has what else the
    manifest said of a picture, as the object `details`. With `links` both have `url` and `url_expires_at`.
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


def _cells(row: ResultRow, links: CutoutLinks | None) -> list[object]:
    cells: list[object] = [safe(cell) if isinstance(cell, str) else cell for cell in row[:-1]]
    cells[COLUMNS.index("reused")] = "true" if row.reused else "false"
    if links:
        cells[AFTER_KEY:AFTER_KEY] = _link(row, links)
    return cells


def _write_ndjson(page: list[ResultRow], links: CutoutLinks | None) -> bytes:
    return "".join(json.dumps(_object(row, links), ensure_ascii=False) + "\n" for row in page).encode()


def _object(row: ResultRow, links: CutoutLinks | None) -> dict[str, object]:
    if links is None:
        return row._asdict()
    names = (*_header(with_links=True), "details")
    values: list[object] = list(row)
    values[AFTER_KEY:AFTER_KEY] = _link(row, links)
    return dict(zip(names, values, strict=True))


def _link(row: ResultRow, links: CutoutLinks) -> tuple[str | None, str | None]:
    return (links.to(row.key), links.expires_at.isoformat()) if row.key else (None, None)
