"""Changes of watched jobs and batches: one query for all waiting requests, no cost for the writers."""

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, cast, column, func, not_, select

from cutout.enums import State
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.queue.batch_actions.unfinished import HAS_ACTION
from cutout.queue.batch_progress import STILL_READ, first_job

# A job and the state in which a client saw it.
SeenState = tuple[uuid.UUID, str]

# Arrays as text, which Postgres parses: a thousand ids as parameters take ten times as long to encode.
SEEN_STATES = (
    func.unnest(
        cast(bindparam("ids", type_=Text), ARRAY(Uuid)), cast(bindparam("states", type_=Text), ARRAY(Text))
    )
    .table_valued(column("id", Uuid), column("state", Text))
    .render_derived("seen")
)
CHANGED = (
    select(SEEN_STATES.c.id, SEEN_STATES.c.state)
    .outerjoin_from(SEEN_STATES, JOBS, JOBS.c.id == SEEN_STATES.c.id)
    .where(JOBS.c.state.is_distinct_from(SEEN_STATES.c.state))
)
SETTLED = select(BATCHES.c.id).where(
    BATCHES.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
    and_(first_job(State.QUEUED, State.RUNNING).is_(None), STILL_READ.is_(None), not_(HAS_ACTION)),
)


def changed_jobs(database: Database, seen: Collection[SeenState]) -> list[SeenState]:
    """The jobs that are no longer in the state in which they were seen."""
    ids, states = zip(*seen, strict=True)
    rows = database.execute(CHANGED, {"ids": _array(ids), "states": _array(states)})
    return [(job_id, state) for job_id, state in rows]


def settled_batches(database: Database, batch_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """The batches in which nothing changes by itself any more: read to the end, all jobs final or held.

    No action of theirs is unfinished.
    """
    return list(database.scalars(SETTLED, {"ids": list(batch_ids)}))


def _array(values: Iterable[object]) -> str:
    # Ids and states need no quoting.
    return f"{{{','.join(map(str, values))}}}"
