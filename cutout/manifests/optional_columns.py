"""The columns that a known export does not have of itself, but may be given: return_form and priority."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from cutout.manifests.column_names import Header
from cutout.manifests.field_rules import RANKS
from cutout.manifests.record_builder import Cell, Draft


class Spot(NamedTuple):
    """A column and where it stands; without a place its cell is always empty."""

    column: str
    place: int | None

    @classmethod
    def find(cls, header: Header, *spellings: str) -> Self:
        """The first of the spellings that the header has. Raises ManifestError if it has it twice."""
        for spelling in spellings:
            if (place := header.find(spelling)) is not None:
                return cls(header.names[place].strip(), place)
        return cls(spellings[0], None)

    def cell(self, cells: Sequence[str]) -> Cell:
        return Cell(self.column, "" if self.place is None else cells[self.place].strip())


class Asked:
    """What rows ask for their pictures.

    A column `priority` that nobody mapped may be the shop's own: words that are not ours mean nothing there.
    """

    def __init__(self, header: Header, columns: Mapping[str, str]) -> None:
        """Raises ManifestError if a mapped column is not there."""
        self._return_form, self._priority = (
            self._find(header, columns, target) for target in ("return_form", "priority")
        )
        self._is_priority_ours = "priority" in columns

    def _find(self, header: Header, columns: Mapping[str, str], target: str) -> Spot:
        if columns.get(target) == "":
            return Spot(target, None)
        spot = Spot.find(header, columns.get(target, target))
        if spot.place is None and target in columns:
            raise header.missing({target: columns[target]})
        return spot

    def draft(self, line: int, cells: Sequence[str]) -> Draft:
        priority = self._priority.cell(cells)
        if not self._is_priority_ours:
            priority = ours_alone(priority)
        return Draft(line, self._return_form.cell(cells), priority)


def ours_alone(priority: Cell) -> Cell:
    """The cell, empty if what it says is another program's word."""
    return priority if priority.value in RANKS else priority._replace(value="")
