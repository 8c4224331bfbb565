"""From a record's values to its pictures and rejects."""

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
from cutout.manifests.records import Found, Picture, Reject, reject
from cutout.manifests.url_lists import addresses_of, may_be_several, numbered


class Cell(NamedTuple):
    """A value and the name of the column that it stands in."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a record asks for its pictures."""

    return_form: ReturnForm | None
    priority: Priority | None


class PlainCells(NamedTuple):
    """What a plain record says of its one picture, in the order of TARGETS."""

    external_id: Cell
    source: Cell
    return_form: Cell
    priority: Cell


def usual_picture(
    external_id: str, source: str, return_form: str, priority: str, metadata: dict[str, str] | None
) -> Picture | None:
    """The fast way for nearly all records; None leaves it to `read_picture`, which looks closely."""
    if (
        0 < len(external_id) <= LONGEST_EXTERNAL_ID
        and 0 < len(source) <= LONGEST_SOURCE
        # Others need a closer look: some letters are not seen either.
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
) -> Found:
    """The pictures of a plain record, mostly one, or a reject for each of its values that is at fault.

    Several addresses are numbered in the order of the alphabet, or with `many` together with those of other
    records. `sources` are given where the format has lists.
    """
    external_id, source, return_form, priority = cells
    named = addresses_of(source.value) if sources is None else list(dict.fromkeys(sources))
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


def with_position(line: int, found: Found, position: Cell) -> Found:
    """The pictures with their place among those of their id; an empty cell leaves it to their addresses."""
    if not position.value:
        return found
    number = WHOLE_NUMBER.fullmatch(position.value)
    pictures, rejects = found
    if not number:
        return (), (*rejects, reject(line, *position, NO_NUMBER))
    place = int(number[1])
    return tuple(replace(picture, position=place) for picture in pictures), rejects


class Draft:
    """Collects the pictures of one record that may name several."""

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
        self._plan = None
        if not self.rejects:
            self._plan = Plan(RETURN_FORMS[return_form.value], RANKS[priority.value])

    def reject(self, cell: Cell, reason: str) -> None:
        self.rejects.append(reject(self.line, *cell, reason))

    def add(self, external_id: Cell, source: Cell, *, made: bool = False) -> None:
        """Take a picture, or reject what is wrong with it. What a record asks in vain makes no picture.

        `made` says that the id is not the catalog's own.
        """
        id_fault, fault = external_id_fault(external_id.value), source_fault(source.value)
        if id_fault:
            self.reject(external_id, id_fault)
        if fault:
            self.reject(source, fault)
        if self._plan and not (id_fault or fault):
            plan = self._plan
            self.pictures.append(
                Picture(external_id.value, source.value, plan.return_form, plan.priority, None, made=made)
            )

    def found(self) -> Found:
        return tuple(self.pictures), tuple(self.rejects)
