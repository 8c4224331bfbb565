"""Predicates over the batch of an outer statement: whether jobs of it are still to end or to be read."""

from sqlalchemy import ScalarSelect, or_, select

from cutout.enums import UNFINISHED_STATES, State
from cutout.models import BATCHES, JOBS, Batch, Ingest, Job

HAS_MORE = or_(
    select(Job.id)
    .where(Job.batch_id == Batch.id, Job.state.in_(UNFINISHED_STATES))
    .correlate(Batch)
    .exists(),
    select(Ingest.batch_id)
    .where(Ingest.batch_id == Batch.id, Ingest.finished_at.is_(None))
    .correlate(Batch)
    .exists(),
)


def first_job(*states: State) -> ScalarSelect[str]:
    # In the index's own order, and one row of it: joined, or guessed to be many, all jobs would be read.
    its = select(JOBS.c.state).where(JOBS.c.batch_id == BATCHES.c.id).order_by(JOBS.c.state).limit(1)
    return (its.where(JOBS.c.state.in_(states)) if states else its).correlate(BATCHES).scalar_subquery()


STILL_READ = (
    select(Ingest.batch_id)
    .where(Ingest.batch_id == BATCHES.c.id, Ingest.finished_at.is_(None))
    .limit(1)
    .correlate(BATCHES)
    .scalar_subquery()
)
