"""What has changed of what is watched: one statement for all who wait, and nothing on the writers' side."""

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, cast, column, func, select

from cutout.enums import State
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.queue.batch_progress import STILL_READ, first_job

# A job and the state in which somebody saw it.
Sighting = tuple[uuid.UUID, str]

# As text that Postgres reads: a thousand ids handed over one by one take ten times as long to write down.
SIGHTINGS = (
    func.unnest(
        cast(bindparam("ids", type_=Text), ARRAY(Uuid)), cast(bindparam("states", type_=Text), ARRAY(Text))
    )
    .table_valued(column("id", Uuid), column("state", Text))
    .render_derived("sightings")
)
CHANGED = (
    select(SIGHTINGS.c.id, SIGHTINGS.c.state)
    .outerjoin_from(SIGHTINGS, JOBS, JOBS.c.id == SIGHTINGS.c.id)
    .where(JOBS.c.state.is_distinct_from(SIGHTINGS.c.state))
)
AT_REST = select(BATCHES.c.id).where(
    BATCHES.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
    and_(first_job(State.QUEUED, State.RUNNING).is_(None), STILL_READ.is_(None)),
)


def changed_jobs(database: Database, seen: Collection[Sighting]) -> list[Sighting]:
    """Those of the jobs that are in that state no more."""
    ids, states = zip(*seen, strict=True)
    rows = database.execute(CHANGED, {"ids": _array(ids), "states": _array(states)})
    return [(job_id, state) for job_id, state in rows]


def batches_at_rest(database: Database, batch_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Those of the batches of which nothing moves by itself any more: all jobs are final or held."""
    return list(database.scalars(AT_REST, {"ids": list(batch_ids)}))


def _array(values: Iterable[object]) -> str:
    # Ids and words of ours, of which none has to be quoted.
    return f"{{{','.join(map(str, values))}}}"
