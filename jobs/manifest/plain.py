"""Plain manifests: external_id, source, perhaps return_form and priority; all else is metadata."""

from collections.abc import Mapping, Sequence

from jobs.manifest.columns import NEEDED, TARGETS, Header
from jobs.manifest.delimited import ReadCells
from jobs.manifest.drafts import Cell, PlainCells, read_picture, usual_picture
from jobs.manifest.records import Found


def has_plain_columns(header: Header) -> bool:
    return all(header.find(target) is not None for target in NEEDED)


def plain_reader(header: Header, columns: Mapping[str, str]) -> ReadCells:
    """What reads a row below the header, the targets standing in `columns` or under their own names.

    Raises ManifestError if a needed or mapped column is not there, or two columns have one name.
    """
    header.require_unique()
    places = {target: header.find(columns.get(target, target)) for target in TARGETS}
    missing = {
        target: columns.get(target, target)
        for target, place in places.items()
        if place is None and (target in NEEDED or target in columns)
    }
    if missing:
        raise header.missing(missing)
    return _PlainCells(header, places)


class _PlainCells:
    def __init__(self, header: Header, places: Mapping[str, int | None]) -> None:
        # A cell that is always empty stands behind the last, for columns that are not there.
        nowhere = len(header.names)
        self._places = [nowhere if (place := places[target]) is None else place for target in TARGETS]
        self._names = [*(name.strip() for name in header.names), ""]
        self._metadata = [
            (self._names[place], place)
            for place in range(nowhere)
            if self._names[place] and place not in self._places
        ]

    def __call__(self, line: int, cells: Sequence[str]) -> Found:
        cells = [*cells, ""]
        at_id, at_source, at_form, at_priority = self._places
        external_id, source = cells[at_id].strip(), cells[at_source].strip()
        form, priority = cells[at_form].strip(), cells[at_priority].strip()
        metadata = self._read_metadata(cells)
        if picture := usual_picture(external_id, source, form, priority, metadata):
            return (picture,), ()
        values = (external_id, source, form, priority)
        named = [Cell(self._names[place], value) for place, value in zip(self._places, values, strict=True)]
        return read_picture(line, PlainCells(*named), metadata)

    def _read_metadata(self, cells: Sequence[str]) -> dict[str, str] | None:
        if not self._metadata:
            return None
        return {name: cells[place] for name, place in self._metadata if cells[place]} or None
