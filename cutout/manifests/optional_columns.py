"""Optional columns of a known export: return_form and priority."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from cutout.manifests.column_names import Header
from cutout.manifests.field_rules import RANKS
from cutout.manifests.record_builder import Cell, RecordBuilder


class Column(NamedTuple):
    """A column and its index in a row; without an index its cell is always empty."""

    name: str
    at: int | None

    @classmethod
    def find(cls, header: Header, *spellings: str) -> Self:
        """Find the first of the spellings that the header has. Raises ManifestError if it occurs twice."""
        for spelling in spellings:
            if (index := header.find(spelling)) is not None:
                return cls(header.names[index].strip(), index)
        return cls(spellings[0], None)

    def cell(self, cells: Sequence[str]) -> Cell:
        return Cell(self.name, "" if self.at is None else cells[self.at].strip())


class OptionalColumns:
    """Columns return_form and priority of a known export.

    An unmapped column `priority` may be the shop's own: words that are not ours are ignored there.
    """

    def __init__(self, header: Header, columns: Mapping[str, str]) -> None:
        """Find the columns. Raises ManifestError if a mapped column is missing."""
        self._return_form, self._priority = (
            self._find(header, columns, target) for target in ("return_form", "priority")
        )
        self._is_priority_ours = "priority" in columns

    def _find(self, header: Header, columns: Mapping[str, str], target: str) -> Column:
        if columns.get(target) == "":
            return Column(target, None)
        column = Column.find(header, columns.get(target, target))
        if column.at is None and target in columns:
            raise header.missing({target: columns[target]})
        return column

    def builder(self, line: int, cells: Sequence[str]) -> RecordBuilder:
        priority = self._priority.cell(cells)
        if not self._is_priority_ours:
            priority = without_foreign_word(priority)
        return RecordBuilder(line, self._return_form.cell(cells), priority)


def without_foreign_word(priority: Cell) -> Cell:
    """Return the cell, emptied if its value is another program's word."""
    return priority if priority.value in RANKS else priority._replace(value="")
