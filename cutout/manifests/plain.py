"""Plain manifests: external_id, source, perhaps return_form and priority; all else is metadata."""

from collections import Counter
from collections.abc import Mapping, Sequence

from cutout.manifests.column_names import NEEDED, TARGETS, Header
from cutout.manifests.delimited import ReadCells
from cutout.manifests.record_builder import Cell, PlainCells, read_pictures, usual_picture, with_position
from cutout.manifests.records import Found

OF_WOOCOMMERCE, VARIATION = ("type", "sku", "parent", "images"), "variation"
POSITIONS = ("position", "image_position", "image position")


def has_plain_columns(header: Header) -> bool:
    return all(header.find(target) is not None for target in NEEDED)


def plain_reader(header: Header, columns: Mapping[str, str], *, many: bool = False) -> ReadCells:
    """What reads a row below the header, the targets standing in `columns` or under their own names.

    A column `priority` is ours only in a manifest that was written for us: where external_id or source is
    mapped, another program's word may stand there. With `many` a column of positions says in which order
    the pictures of one id are numbered.

    Raises ManifestError if a needed or mapped column is not there, or one that is used stands there twice.
    """
    places = {target: _find(header, columns, target) for target in TARGETS}
    missing = {
        target: columns.get(target, target)
        for target, place in places.items()
        if place is None and (target in NEEDED or columns.get(target))
    }
    if missing:
        raise header.missing(missing)
    return _PlainCells(header, places, _find_position(header, columns) if many else None, many=many)


def _find(header: Header, columns: Mapping[str, str], target: str) -> int | None:
    if target in columns:
        return header.find(columns[target]) if columns[target] else None
    if target == "priority" and not columns.keys().isdisjoint(NEEDED):
        return None
    return header.find(target)


def _find_position(header: Header, columns: Mapping[str, str]) -> int | None:
    if "position" not in columns:
        found = (header.find(name) for name in POSITIONS)
        return next((place for place in found if place is not None), None)
    place = header.find(columns["position"])
    if place is None:
        raise header.missing({"position": columns["position"]})
    return place


class _PlainCells:
    def __init__(
        self, header: Header, places: Mapping[str, int | None], position: int | None, *, many: bool
    ) -> None:
        # A cell that is always empty stands behind the last, for columns that are not there.
        nowhere = len(header.names)
        self._places = [nowhere if (place := places[target]) is None else place for target in TARGETS]
        self._names = [*(name.strip() for name in header.names), ""]
        self._position = position
        self._many = many
        self._type = _find_type(header)
        self._metadata = _metadata_of(self._names[:nowhere], self._places)

    def __call__(self, line: int, cells: Sequence[str]) -> Found:
        cells = [*cells, ""]
        at_id, at_source, at_form, at_priority = self._places
        external_id, source = cells[at_id].strip(), cells[at_source].strip()
        form, priority = cells[at_form].strip(), cells[at_priority].strip()
        if not source and self._type is not None and cells[self._type].strip().lower().startswith(VARIATION):
            return (), ()
        metadata = self._read_metadata(cells)
        found: Found
        if picture := usual_picture(external_id, source, form, priority, metadata):
            found = (picture,), ()
        else:
            values = (external_id, source, form, priority)
            named = [
                Cell(self._names[place], value) for place, value in zip(self._places, values, strict=True)
            ]
            found = read_pictures(line, PlainCells(*named), metadata, many=self._many)
        if self._position is None:
            return found
        return with_position(line, found, Cell(self._names[self._position], cells[self._position].strip()))

    def _read_metadata(self, cells: Sequence[str]) -> dict[str, str] | None:
        if not self._metadata:
            return None
        return {name: cells[place] for name, place in self._metadata if cells[place]} or None


def _find_type(header: Header) -> int | None:
    """Where WooCommerce's export says that a row is a variation, which mostly has its parent's picture."""
    return header.folded.index("type") if set(OF_WOOCOMMERCE) <= set(header.folded) else None


def _metadata_of(names: Sequence[str], used: Sequence[int]) -> list[tuple[str, int]]:
    """The columns that are kept as they are: a name that stands there again gets a number."""
    kept: dict[str, int] = {}
    numbers: Counter[str] = Counter()
    for place, name in enumerate(names):
        if name and place not in used:
            kept_as = name
            while kept_as in kept:
                numbers[name] += 1
                kept_as = f"{name} ({numbers[name] + 1})"
            kept[kept_as] = place
    return list(kept.items())
