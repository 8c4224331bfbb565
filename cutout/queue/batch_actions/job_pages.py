"""Pages of a batch's jobs in the order of their ids: each portion of an action examines the next ones."""

import uuid
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, literal, select

from cutout.models import JOBS
from cutout.models.database import Database

# Jobs that one portion looks at, of which it may change fewer.
MOST_EXAMINED = 20_000
FIRST = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class JobPage:
    """Ids to change, and the id behind which the next page begins; None behind the last job."""

    ids: list[uuid.UUID]
    next_after: uuid.UUID | None


def read_page(
    database: Database, batch_id: uuid.UUID, after: uuid.UUID, limit: int, *which: ColumnElement[bool]
) -> JobPage:
    """The next jobs of the batch's producer that match, `limit` at most; deleted ones are left out.

    A batch of the operator has no such pages: its jobs have no producer.
    """
    of_batch = (JOBS.c.batch_id == batch_id, JOBS.c.producer_id.is_not(None), JOBS.c.id > after)
    ordered = select(JOBS.c.id).where(*of_batch).order_by(JOBS.c.id)
    # In the order of the index, whatever matches: the limit keeps the conditions out of the subquery, for
    # which Postgres might choose another index, and sort.
    examined = (
        ordered.add_columns(and_(*which, literal(True)).label("matches")).limit(MOST_EXAMINED).subquery()
    )
    found = select(examined.c.id).where(examined.c.matches).order_by(examined.c.id).limit(limit)
    ids = list(database.scalars(found))
    if len(ids) == limit:
        return JobPage(ids, ids[-1])
    return JobPage(ids, database.scalar(ordered.offset(MOST_EXAMINED - 1).limit(1)))
