"""Results files: CSV for spreadsheets, NDJSON for programs."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from cutout.manifests.csv_injection import escape_cell
from cutout.results.links import CutoutLinks
from cutout.results.output_cells import outputs_object, rendition_cells, rendition_columns
from cutout.results.rows import ResultRow
from cutout.results.tally import WrittenRows

COLUMNS = ResultRow._fields[: ResultRow._fields.index("outputs")]
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
    pages: Pages,
    form: Format,
    links: CutoutLinks | None = None,
    tally: WrittenRows | None = None,
    *,
    renditions: Sequence[str] = (),
) -> Iterator[bytes]:
    """Yield the file in pieces of one page each. `tally` counts the written rows and their outputs.

    In CSV, cells that a spreadsheet would run as formulas begin with an apostrophe, and each of the
    `renditions` has columns. NDJSON has all outputs as the object `outputs`, the manifest's other fields as
    the object `details`, and the job's own `metadata`. With `links` both have `url` and `url_expires_at`.
    """
    if form is Format.CSV:
        named = rendition_columns(renditions, with_links=links is not None)
        yield _encoded([(*_header(with_links=links is not None), *named)])
    for page in pages:
        if form is Format.CSV:
            yield _encoded((*_cells(row, links), *rendition_cells(row, renditions, links)) for row in page)
        else:
            yield "".join(_line(row, links) for row in page).encode()
        if tally is not None:
            for row in page:
                tally.add(row.state, (row,))


def _header(*, with_links: bool) -> tuple[str, ...]:
    return (*COLUMNS[:AFTER_KEY], *(LINK_COLUMNS if with_links else ()), *COLUMNS[AFTER_KEY:])


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
        bought_key=escape_cell(row.bought_key),
        recipe=escape_cell(row.recipe),
        score_reasons=escape_cell(row.score_reasons),
    )[: len(COLUMNS)]
    cells = (*cells[:REUSED], "true" if row.reused else "false", *cells[REUSED + 1 :])
    return (*cells[:AFTER_KEY], *_link(row, links), *cells[AFTER_KEY:]) if links else cells


def _line(row: ResultRow, links: CutoutLinks | None) -> str:
    values: tuple[object, ...] = row[: len(COLUMNS)]
    if links:
        values = (*values[:AFTER_KEY], *_link(row, links), *values[AFTER_KEY:])
    names = _header(with_links=links is not None)
    found = dict(zip(names, values, strict=True)) | {"outputs": outputs_object(row, links)}
    written = json.dumps(found, ensure_ascii=False)
    return f'{written[:-1]}, "details": {row.details or "null"}, "metadata": {row.metadata or "{}"}}}\n'


def _link(row: ResultRow, links: CutoutLinks) -> tuple[str | None, str | None]:
    return (links.to(row.key, row.media_type), links.expires_at.isoformat()) if row.key else (None, None)
