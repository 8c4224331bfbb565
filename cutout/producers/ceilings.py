"""The highest priority and the largest weight that a producer may ask for.

An HTTP request for more is refused. The values are also bounded where rows are inserted: a ceiling may have
been set after a manifest was sent or a schedule was made.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, cast, func, literal, literal_column, select, update
from sqlalchemy.orm import Session

from cutout.enums import Priority
from cutout.models import BATCHES, PRODUCERS, Producer

NO_CEILING = int(min(Priority))
# An alias, since the outer statement may use the same table.
_PRODUCER = PRODUCERS.alias("its_producer")


class AboveCeilingError(ValueError):
    """A request above a ceiling of the producer: `field` is the value's name, the text names the ceiling."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The highest priority and the largest weight; None where there is no ceiling."""

    top_priority: Priority | None = None
    most_weight: float | None = None

    @classmethod
    def of(cls, top_priority: int | None, most_weight: float | None) -> "Ceilings":
        """Build from the columns of a producer."""
        return cls(None if top_priority is None else Priority(top_priority), most_weight)

    def require_priority(self, priority: Priority) -> None:
        """Raise AboveCeilingError if the priority is above the ceiling."""
        if self.top_priority is not None and priority < self.top_priority:
            best, asked = self.top_priority.name.lower(), Priority(priority).name.lower()
            raise AboveCeilingError(
                "priority", f"the priority {asked!r} is above your ceiling; ask for {best!r} at best"
            )

    def require_weight(self, weight: float) -> None:
        """Raise AboveCeilingError if the weight is above the ceiling."""
        if self.most_weight is not None and weight > self.most_weight:
            raise AboveCeilingError(
                "weight", f"the weight {weight:g} is above your ceiling; ask for {self.most_weight:g} at most"
            )


UNBOUNDED = Ceilings()


def top_priority_of(producer_id: ColumnElement[Any] | Any) -> ColumnElement[int]:
    """The highest priority allowed to the producer in an outer statement."""
    ceiling = (
        select(_PRODUCER.c.top_priority).where(_PRODUCER.c.id == producer_id).correlate_except(_PRODUCER)
    )
    return func.coalesce(ceiling.scalar_subquery(), literal_column(str(NO_CEILING)))


def weight_within(producer_id: uuid.UUID, weight: float) -> ColumnElement[float]:
    """The weight, or the producer's ceiling if that is lower."""
    ceiling = select(PRODUCERS.c.most_weight).where(PRODUCERS.c.id == producer_id).scalar_subquery()
    return func.least(cast(literal(weight), BATCHES.c.weight.type), ceiling)


def ceilings_of(session: Session, producer_id: uuid.UUID | None) -> Ceilings:
    """The ceilings of a producer; UNBOUNDED for jobs without one."""
    row = session.execute(
        select(Producer.top_priority, Producer.most_weight).where(Producer.id == producer_id)
    ).first()
    return UNBOUNDED if row is None else Ceilings.of(*row)


def set_ceilings(session: Session, producer_id: uuid.UUID, **ceilings: float | None) -> bool:
    """Set `top_priority`, `most_weight` or `share` for jobs enqueued from now on.

    False if there is no such producer.
    """
    changed = session.execute(
        update(Producer).where(Producer.id == producer_id).values(ceilings).returning(Producer.id)
    )
    return changed.first() is not None
