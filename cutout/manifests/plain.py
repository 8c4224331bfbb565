"""Plain manifests: external_id, source, optionally return_form and priority; other columns are metadata."""

from collections import Counter
from collections.abc import Mapping, Sequence

from cutout.manifests.column_names import NEEDED, TARGETS, Header
from cutout.manifests.record_builder import Cell, PlainCells, read_pictures, simple_picture, with_position
from cutout.manifests.records import RecordContent
from cutout.manifests.variant_rows import NO_PICTURE, variant_rule

POSITIONS = ("position", "image_position", "image position")


def has_plain_columns(header: Header) -> bool:
    return all(header.find(target) is not None for target in NEEDED)


def plain_reader(header: Header, columns: Mapping[str, str], *, many: bool = False) -> "PlainRow":
    """Return a reader for the rows, with the targets mapped in `columns` or under their own names.

    A column `priority` is used only in a manifest written for us: where external_id or source is mapped, it
    may hold another program's words. With `many` a position column gives the order in which pictures of one
    id are numbered.

    Raises ManifestError if a needed or mapped column is missing, or a used one occurs twice.
    """
    indexes = {target: _find(header, columns, target) for target in TARGETS}
    missing = {
        target: columns.get(target, target)
        for target, index in indexes.items()
        if index is None and (target in NEEDED or columns.get(target))
    }
    if missing:
        raise header.missing(missing)
    return PlainRow(header, indexes, _find_position(header, columns) if many else None, many=many)


def _find(header: Header, columns: Mapping[str, str], target: str) -> int | None:
    if target in columns:
        return header.find(columns[target]) if columns[target] else None
    if target == "priority" and not columns.keys().isdisjoint(NEEDED):
        return None
    return header.find(target)


def _find_position(header: Header, columns: Mapping[str, str]) -> int | None:
    if "position" not in columns:
        found = (header.find(name) for name in POSITIONS)
        return next((index for index in found if index is not None), None)
    index = header.find(columns["position"])
    if index is None:
        raise header.missing({"position": columns["position"]})
    return index


class PlainRow:
    """Reader of rows. `kept` are the columns kept with each record: those that no field of a job is."""

    def __init__(
        self, header: Header, indexes: Mapping[str, int | None], position: int | None, *, many: bool
    ) -> None:
        # An extra cell at the end, always empty, stands for missing columns.
        nowhere = len(header.names)
        self._indexes = [nowhere if (index := indexes[target]) is None else index for target in TARGETS]
        self._names = [*(name.strip() for name in header.names), ""]
        self._position = position
        self._many = many
        self._is_variant = variant_rule(header)
        self._metadata = _metadata_of(self._names[:nowhere], self._indexes)
        self.kept = tuple(name for name, _ in self._metadata)

    def __call__(self, line: int, cells: Sequence[str]) -> RecordContent:
        cells = [*cells, ""]
        at_id, at_source, at_form, at_priority = self._indexes
        external_id, source = cells[at_id].strip(), cells[at_source].strip()
        if source == NO_PICTURE:
            source = ""
        form, priority = cells[at_form].strip(), cells[at_priority].strip()
        if not source and self._is_variant is not None and self._is_variant(cells):
            return (), ()
        metadata = self._read_metadata(cells)
        found: RecordContent
        if picture := simple_picture(external_id, source, form, priority, metadata):
            found = (picture,), ()
        else:
            values = (external_id, source, form, priority)
            named = [
                Cell(self._names[index], value) for index, value in zip(self._indexes, values, strict=True)
            ]
            found = read_pictures(line, PlainCells(*named), metadata, many=self._many)
        if self._position is None:
            return found
        return with_position(line, found, Cell(self._names[self._position], cells[self._position].strip()))

    def _read_metadata(self, cells: Sequence[str]) -> dict[str, str] | None:
        if not self._metadata:
            return None
        return {name: cells[index] for name, index in self._metadata if cells[index]} or None


def _metadata_of(names: Sequence[str], used: Sequence[int]) -> list[tuple[str, int]]:
    """Return the metadata columns by name; a repeated name gets a number."""
    kept: dict[str, int] = {}
    numbers: Counter[str] = Counter()
    for index, name in enumerate(names):
        if name and index not in used:
            unique_name = name
            while unique_name in kept:
                numbers[name] += 1
                unique_name = f"{name} ({numbers[name] + 1})"
            kept[unique_name] = index
    return list(kept.items())
