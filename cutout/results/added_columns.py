"""Columns with the results of each record, added to the input manifest."""

import re
from collections.abc import Sequence
from functools import cached_property

from cutout.enums import OutputState, State
from cutout.manifests import Record
from cutout.results.links import CutoutLinks
from cutout.results.output_cells import KEY as KEY_OF
from cutout.results.output_cells import PROBLEMS, link_to, problems_text
from cutout.results.output_cells import URL as URL_OF
from cutout.results.rows import ResultRow

STATE, KEY, URL, SHA256, WIDTH, HEIGHT, ERROR, REQUEST_ID, REUSED, SCORE = (
    f"cutout_{name}"
    for name in ("state", "key", "url", "sha256", "width", "height", "error", "request_id", "reused", "score")
)
ALL_ADDED = (STATE, KEY, URL, SHA256, WIDTH, HEIGHT, ERROR, REQUEST_ID, REUSED, SCORE)
OF_A_RENDITION = re.compile(r"cutout_[A-Za-z0-9-]+_(key|url|problems)")
REJECTED = "rejected"
WITHOUT_PICTURE = "without a picture"
# A record with several pictures counts as the first of these states that one of them has.
WORST_FIRST = (State.FAILED, State.HELD, State.QUEUED, State.RUNNING, State.CANCELLED, REJECTED)

# The jobs of a record, one for each picture and form; None where no job was made.
RecordJobs = Sequence[ResultRow | None]


def is_added(column: str) -> bool:
    """Whether the column was added by an earlier output, which this one replaces."""
    return column in ALL_ADDED or OF_A_RENDITION.fullmatch(column) is not None


class AddedColumns:
    """The added columns: of the delivered picture, and of each rendition; with links if given."""

    def __init__(self, links: CutoutLinks | None = None, renditions: Sequence[str] = ()) -> None:
        self.links = links
        self._renditions = renditions

    @cached_property
    def names(self) -> tuple[str, ...]:
        own = tuple(name for name in ALL_ADDED if self.links or name != URL)
        kinds = (KEY_OF, *((URL_OF,) if self.links else ()), PROBLEMS)
        return (*own, *(f"cutout_{name}_{kind}" for name in self._renditions for kind in kinds))

    def cells(self, record: Record, jobs: RecordJobs) -> list[str]:
        """The record's values in the order of `names`; the values of several pictures are joined by blanks.

        An empty value keeps its position: the second key belongs to the second picture.
        """
        if has_no_picture(record):
            return [""] * len(self.names)
        values = [self._values(row) for row in jobs] or [self._values(None)]
        joined = values[0] if len(values) == 1 else [_joined(cells) for cells in zip(*values, strict=True)]
        joined[self._error] = _errors(record, jobs)
        return joined

    @cached_property
    def _error(self) -> int:
        return self.names.index(ERROR)

    def _values(self, row: ResultRow | None) -> list[str]:
        if row is None:
            return [REJECTED, *[""] * (len(self.names) - 1)]
        link = [self.links.to(row.key, row.media_type) if row.key else ""] if self.links else []
        width = "" if row.width is None else str(row.width)
        height = "" if row.height is None else str(row.height)
        reused = "true" if row.reused else "false"
        key, sha256, request_id = row.key or "", row.sha256 or "", row.request_id or ""
        score = "" if row.score is None else f"{row.score:g}"
        own = [row.state, key, *link, sha256, width, height, "", request_id, reused, score]
        return own + self._rendition_values(row)

    def _rendition_values(self, row: ResultRow) -> list[str]:
        found = {output.name: output for output in row.renditions}
        values: list[str] = []
        for name in self._renditions:
            output = found.get(name)
            if output is None:
                values += [""] * (3 if self.links else 2)
                continue
            link = [link_to(output, self.links) or ""] if self.links else []
            values += [output.key or "", *link, problems_text(output)]
        return values


def has_no_picture(record: Record) -> bool:
    """Whether the record has no picture and needs none, such as a variant of a product that has one."""
    return not record.pictures and not record.rejects


def record_state(record: Record, jobs: RecordJobs) -> str:
    """The state that the record counts as."""
    if has_no_picture(record):
        return WITHOUT_PICTURE
    states = {row.state if row else REJECTED for row in jobs} or {REJECTED}
    if len(states) == 1:
        return states.pop()
    return next((state for state in WORST_FIRST if state in states), State.SUCCEEDED)


def _joined(values: Sequence[str]) -> str:
    return " ".join(values) if any(values) else ""


def _errors(record: Record, jobs: RecordJobs) -> str:
    errors = [f"{row.error_code}: {row.error_message}" for row in jobs if row and row.error_code]
    errors += [
        f"output {output.name}: {output.code}: {output.message}"
        for row in jobs
        if row
        for output in row.outputs
        if output.name == row.return_form and output.state == OutputState.FAILED
    ]
    errors += [f"{reject.column} {reject.reason}".strip() for reject in record.rejects]
    if None in jobs:
        errors.append("it has no job; the batch's rejects may say why")
    return " ".join(errors)
