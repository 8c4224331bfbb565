"""State of a batch as an SQL expression: for lists, which do not count its jobs."""

from sqlalchemy import ColumnElement, and_, case, not_, or_, select

from cutout.enums import UNFINISHED_STATES, ActionKind, BatchState
from cutout.models import ACTIONS, BATCHES, INGESTS, JOBS

_JOBS = select(JOBS.c.id).where(JOBS.c.batch_id == BATCHES.c.id).correlate(BATCHES)
_INGESTS = select(INGESTS.c.batch_id).where(INGESTS.c.batch_id == BATCHES.c.id).correlate(BATCHES)
_CHANGES_STATES = (
    select(ACTIONS.c.id)
    .where(
        ACTIONS.c.batch_id == BATCHES.c.id,
        ACTIONS.c.finished_at.is_(None),
        ACTIONS.c.kind.in_([ActionKind.CANCEL, ActionKind.RETRY]),
    )
    .correlate(BATCHES)
)
_HAS_ENDED = and_(
    not_(_CHANGES_STATES.exists()),
    not_(_JOBS.where(JOBS.c.state.in_(UNFINISHED_STATES)).exists()),
    not_(_INGESTS.where(INGESTS.c.finished_at.is_(None)).exists()),
    # One that never got a job has not ended.
    or_(_JOBS.exists(), _INGESTS.exists()),
)
# As `BatchStatus.state` derives it from the counts, of a batch of an outer statement.
STATE: ColumnElement[str] = case(
    (BATCHES.c.delete_requested_at.is_not(None), BatchState.DELETING),
    (and_(BATCHES.c.cancelled_at.is_(None), _HAS_ENDED), BatchState.FINISHED),
    (BATCHES.c.cancelled_at.is_(None), BatchState.ACTIVE),
    (_HAS_ENDED, BatchState.CANCELLED),
    else_=BatchState.CANCELLING,
)
