"""From a record's values to its pictures and rejects."""

from dataclasses import dataclass
from typing import NamedTuple

from jobs.manifest.records import Found, Picture, Reject, reject
from jobs.manifest.values import (
    LONGEST_EXTERNAL_ID,
    LONGEST_SOURCE,
    RANKS,
    RETURN_FORMS,
    external_id_fault,
    priority_fault,
    return_form_fault,
    source_fault,
)
from jobs.states import Priority, ReturnForm


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
        and external_id.isprintable()
        and source.isprintable()
        and return_form in RETURN_FORMS
        and priority in RANKS
    ):
        return Picture(external_id, source, RETURN_FORMS[return_form], RANKS[priority], metadata)
    return None


def read_picture(line: int, cells: PlainCells, metadata: dict[str, str] | None) -> Found:
    """The one picture of a plain record, or a reject for each of its values that is at fault."""
    external_id, source, return_form, priority = cells
    faults = (
        (external_id, external_id_fault(external_id.value)),
        (source, source_fault(source.value)),
        (return_form, return_form_fault(return_form.value)),
        (priority, priority_fault(priority.value)),
    )
    rejects = tuple(reject(line, *cell, fault) for cell, fault in faults if fault)
    if rejects:
        return (), rejects
    form, rank = RETURN_FORMS[return_form.value], RANKS[priority.value]
    return (Picture(external_id.value, source.value, form, rank, metadata),), ()


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

    def add(self, external_id: Cell, source: Cell) -> None:
        """Take a picture, or reject what is wrong with it. What a record asks in vain makes no picture."""
        id_fault, fault = external_id_fault(external_id.value), source_fault(source.value)
        if id_fault:
            self.reject(external_id, id_fault)
        if fault:
            self.reject(source, fault)
        if self._plan and not (id_fault or fault):
            plan = self._plan
            self.pictures.append(
                Picture(external_id.value, source.value, plan.return_form, plan.priority, None)
            )

    def found(self) -> Found:
        return tuple(self.pictures), tuple(self.rejects)
