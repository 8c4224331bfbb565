"""Builder of records: pictures and rejects from a record's values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cutout.enums import Priority, ReturnForm
from cutout.manifests.field_rules import (
    LONGEST_EXTERNAL_ID,
    LONGEST_SOURCE,
    RANKS,
    RETURN_FORMS,
    external_id_fault,
    priority_fault,
    return_form_fault,
    source_fault,
)
from cutout.manifests.records import Picture, RecordContent, Reject, reject

# A comma, blank, semicolon or bar may be part of a URL: it separates only if another URL follows. Possessive,
# so each run is scanned once: a cell may have a million.
URL_SEPARATOR = re.compile(r"(?<![\s,;|])[\s,;|]++(?=(?:https?|s3)://)", re.IGNORECASE)
URL_START = re.compile(r"(?:https?|s3)://", re.IGNORECASE)
# The scheme of the first URL ends before this offset.
LONGEST_SCHEME = 8


class Cell(NamedTuple):
    """A value and the name of its column."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Form and priority that a record sets for its pictures."""

    return_form: ReturnForm | None
    priority: Priority | None


class PlainCells(NamedTuple):
    """Cells of a plain record with one picture, in the order of TARGETS."""

    external_id: Cell
    source: Cell
    return_form: Cell
    priority: Cell


def simple_picture(
    external_id: str, source: str, return_form: str, priority: str, metadata: dict[str, str] | None
) -> Picture | None:
    """Return the picture of a plain record without faults, fast; None leaves it to `read_pictures`."""
    if (
        0 < len(external_id) <= LONGEST_EXTERNAL_ID
        and 0 < len(source) <= LONGEST_SOURCE
        # Other ids need the full check: some letters are invisible.
        and external_id.isascii()
        and external_id.isprintable()
        and source.isprintable()
        and return_form in RETURN_FORMS
        and priority in RANKS
        and not may_be_several(source)
    ):
        return Picture(external_id, source, RETURN_FORMS[return_form], RANKS[priority], metadata)
    return None


def read_pictures(
    line: int,
    cells: PlainCells,
    metadata: dict[str, str] | None,
    *,
    sources: Sequence[str] | None = None,
    many: bool = False,
) -> RecordContent:
    """Return the pictures of a plain record, usually one, or a reject for each value at fault.

    Several URLs are numbered in alphabetical order, or with `many` later, together with those of other
    records. `sources` is given by formats that have lists.
    """
    external_id, source, return_form, priority = cells
    named = split_urls(source.value) if sources is None else list(dict.fromkeys(sources))
    faults = [
        (external_id, external_id_fault(external_id.value)),
        *((Cell(source.column, name), source_fault(name)) for name in named or [""]),
        (return_form, return_form_fault(return_form.value)),
        (priority, priority_fault(priority.value)),
    ]
    if len(named) > 1 and not many:
        longest = numbered(external_id.value, len(named))
        faults[0] = (
            Cell(external_id.column, longest),
            external_id_fault(longest if external_id.value else ""),
        )
    rejects = tuple(reject(line, *cell, fault) for cell, fault in faults if fault)
    if rejects:
        return (), rejects
    form, rank = RETURN_FORMS[return_form.value], RANKS[priority.value]
    numbers = {name: number for number, name in enumerate(sorted(named), start=1)}
    return (
        tuple(
            Picture(
                external_id.value if many else numbered(external_id.value, numbers[name]),
                name,
                form,
                rank,
                metadata,
                made=not many and numbers[name] > 1,
            )
            for name in named
        ),
        (),
    )


WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0*)?", re.ASCII)
NO_NUMBER = "is not a whole number; number the product's pictures 1, 2, 3"


def with_position(line: int, found: RecordContent, position: Cell) -> RecordContent:
    """Set the position of the pictures among those of their id; an empty cell leaves it unset."""
    if not position.value:
        return found
    number = WHOLE_NUMBER.fullmatch(position.value)
    pictures, rejects = found
    if not number:
        return (), (*rejects, reject(line, *position, NO_NUMBER))
    index = int(number[1])
    return tuple(replace(picture, position=index) for picture in pictures), rejects


class RecordBuilder:
    """Builder of a record that may name several pictures."""

    def __init__(self, line: int, return_form: Cell, priority: Cell) -> None:
        self.line = line
        self.pictures: list[Picture] = []
        self.rejects: list[Reject] = []
        for cell, fault in (
            (return_form, return_form_fault(return_form.value)),
            (priority, priority_fault(priority.value)),
        ):
            if fault:
                self.reject(cell, fault)
        self._options = None
        if not self.rejects:
            self._options = PictureOptions(RETURN_FORMS[return_form.value], RANKS[priority.value])

    def reject(self, cell: Cell, reason: str) -> None:
        self.rejects.append(reject(self.line, *cell, reason))

    def add(self, external_id: Cell, source: Cell, *, made: bool = False) -> None:
        """Add a picture, or reject its faults. Nothing is added if the record's own options are at fault.

        `made` marks an id that is generated.
        """
        id_fault, fault = external_id_fault(external_id.value), source_fault(source.value)
        if id_fault:
            self.reject(external_id, id_fault)
        if fault:
            self.reject(source, fault)
        if self._options and not (id_fault or fault):
            options = self._options
            self.pictures.append(
                Picture(
                    external_id.value, source.value, options.return_form, options.priority, None, made=made
                )
            )

    def result(self) -> RecordContent:
        return tuple(self.pictures), tuple(self.rejects)


def may_be_several(cell: str) -> bool:
    """Whether a cell may hold several URLs: a fast check, False for one URL or name."""
    return cell.find("://", LONGEST_SCHEME) > 0


def split_urls(cell: str) -> list[str]:
    """Return the distinct URLs of a cell in order; a cell that is one URL or a name is returned whole."""
    if not may_be_several(cell) or not URL_START.match(cell):
        return [cell]
    found = URL_SEPARATOR.split(cell)
    if len(found) == 1:
        return [cell]
    return list(dict.fromkeys(address.rstrip(" \t\r\n,;|") for address in found))


def split_url_list(cell: str) -> list[str]:
    """Split a column that is a list: names without a scheme are separated by commas."""
    if "://" in cell:
        return split_urls(cell)
    return [name for name in map(str.strip, cell.split(",")) if name]


def numbered(external_id: str, number: int) -> str:
    """Return the id of a numbered picture: `SKU`, `SKU-2`, `SKU-3`."""
    return external_id if number == 1 else f"{external_id}-{number}"
