"""Predicates over the batch of an outer statement: whether it has unfinished jobs or an unfinished ingest."""

from sqlalchemy import ScalarSelect, or_, select

from cutout.enums import UNFINISHED_STATES, State
from cutout.models import BATCHES, JOBS, Batch, Ingest, Job

_IS_INGESTED = (
    select(Ingest.batch_id).where(Ingest.batch_id == Batch.id, Ingest.finished_at.is_(None)).correlate(Batch)
)
HAS_MORE = or_(
    select(Job.id)
    .where(Job.batch_id == Batch.id, Job.state.in_(UNFINISHED_STATES))
    .correlate(Batch)
    .exists(),
    _IS_INGESTED.exists(),
)
# As a subquery with one row: see first_job.
STILL_READ = _IS_INGESTED.limit(1).scalar_subquery()


def first_job(*states: State) -> ScalarSelect[str]:
    """The state of any job of the batch in one of these states, or in any; null if there is none."""
    # One row in the order of the index: for a join, or with a wrong estimate, all jobs would be read.
    first = select(JOBS.c.state).where(JOBS.c.batch_id == BATCHES.c.id).order_by(JOBS.c.state).limit(1)
    return (first.where(JOBS.c.state.in_(states)) if states else first).correlate(BATCHES).scalar_subquery()
