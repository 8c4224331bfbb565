"""Actions on held jobs of one reason, across batches: at most MOST_AT_ONCE, in the caller's transaction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.enums import ActionKind, Role, State, Subject
from cutout.models import JOBS, constant
from cutout.models.database import Database
from cutout.producers.action_record import EVERYTHING, About, Extent, record
from cutout.producers.actors import Asked
from cutout.queue.actions import RESULT_IS_FETCHABLE, cancel_all, retry_all

# Some tenths of a second on a busy machine.
MOST_AT_ONCE = 1000
# Those that wait for a person, and not for their batch: an index of its own.
WAITS_FOR_A_PERSON = and_(JOBS.c.state == constant(State.HELD), JOBS.c.queue_state.is_(None))


@dataclass(frozen=True, slots=True)
class HeldJobs:
    """Held jobs of one reason, the oldest ones; `free` of them have a paid result."""

    code: str
    ids: Sequence[uuid.UUID]
    free: int

    @property
    def credits(self) -> int:
        """The most credits that their release may cost."""
        return len(self.ids) - self.free


def find_held(
    database: Database, code: str, producer_id: uuid.UUID | None, *, lock: bool = False
) -> HeldJobs:
    """The oldest MOST_AT_ONCE jobs held for this reason, of a producer or of all; locked if `lock`."""
    which = [WAITS_FOR_A_PERSON, JOBS.c.code == code, JOBS.c.deleted_at.is_(None)]
    if producer_id is not None:
        which.append(JOBS.c.producer_id == producer_id)
    found = select(JOBS.c.id, RESULT_IS_FETCHABLE.label("free")).where(*which)
    found = found.order_by(JOBS.c.id).limit(MOST_AT_ONCE)
    rows = database.execute(found.with_for_update() if lock else found).all()
    return HeldJobs(code, [row.id for row in rows], sum(bool(row.free) for row in rows))


def release_held(session: Session, asked: Asked, held: HeldJobs) -> uuid.UUID:
    """Put locked jobs back in the queue. Raises BatchIsEndingError."""
    number = retry_all(session, held.ids)
    extent = Extent(number, len(held.ids), held.credits, held.credits * DOLLARS_A_CREDIT)
    return _record(session, asked, ActionKind.RETRY, held, extent)


def cancel_held(session: Session, asked: Asked, held: HeldJobs) -> uuid.UUID:
    """Cancel locked jobs; those with a paid result are still stored."""
    cancel_all(session, held.ids)
    return _record(session, asked, ActionKind.CANCEL, held, Extent(len(held.ids), len(held.ids)))


def _record(session: Session, asked: Asked, kind: ActionKind, held: HeldJobs, extent: Extent) -> uuid.UUID:
    owner = asked.by.producer_id
    is_producers = asked.by.role is Role.PRODUCER
    about = About(Subject.PRODUCER, owner, owner) if is_producers else EVERYTHING
    return record(session, asked, kind, about, extent, options={"codes": [held.code]})
