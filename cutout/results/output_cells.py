"""Outputs in results files: columns of renditions in CSV, an object by name in NDJSON."""

from collections.abc import Iterable
from typing import Any

from cutout.manifests.csv_injection import escape_cell
from cutout.results.links import CutoutLinks
from cutout.results.rows import ResultRow
from cutout.status.outputs import JobOutput

STATE, KEY, URL, PROBLEMS = "state", "key", "url", "problems"
_FILE = ("key", "sha256", "media_type", "size_bytes", "width", "height", "factor", "derived_from")
_MAKING = ("recipe", "version", "measures", "problems", "note")


def rendition_columns(names: Iterable[str], *, with_links: bool) -> tuple[str, ...]:
    """The names of the columns of these renditions."""
    kinds = (STATE, KEY, *((URL,) if with_links else ()), PROBLEMS)
    return tuple(f"{name}_{kind}" for name in names for kind in kinds)


def rendition_cells(row: ResultRow, names: Iterable[str], links: CutoutLinks | None) -> list[str | None]:
    """The values of those columns; all of a rendition that the job does not have are empty."""
    found = {output.name: output for output in row.renditions}
    cells: list[str | None] = []
    empty = [None] * (4 if links else 3)
    for name in names:
        output = found.get(name)
        if output is None:
            cells += empty
            continue
        link = [link_to(output, links)] if links else []
        cells += [output.state, escape_cell(output.key), *link, escape_cell(problems_text(output))]
    return cells


def outputs_object(row: ResultRow, links: CutoutLinks | None) -> dict[str, Any]:
    """All outputs of the job by name, as JSON."""
    return {output.name: _as_json(output, links) for output in row.outputs}


def problems_text(output: JobOutput) -> str:
    """The problems of a rendition, or the reason why it failed, in one cell."""
    if output.code and not output.key:
        return f"{output.code}: {output.message}"
    return "; ".join(output.problems or ())


def link_to(output: JobOutput, links: CutoutLinks) -> str | None:
    return links.to(output.key, output.media_type) if output.key else None


def _as_json(output: JobOutput, links: CutoutLinks | None) -> dict[str, Any]:
    link = {"url": link_to(output, links)} if links else {}
    error = {"code": output.code, "message": output.message} if output.code else None
    values = output._asdict()
    return {
        "state": output.state,
        **{name: values[name] for name in _FILE},
        **link,
        **{name: values[name] for name in _MAKING},
        "error": error,
    }
