"""What keeps all jobs of a batch or a producer from being called: predicates over its own facts, no flag."""

from sqlalchemy import not_, or_, select

from cutout.models import BATCHES, INGESTS, JOBS
from cutout.queue.blocks.approval import APPROVED, PLAN
from cutout.queue.blocks.pauses import RESTS

IS_CANCELLED = BATCHES.c.cancelled_at.is_not(None)
AWAITS_APPROVAL = (
    select(INGESTS.c.batch_id)
    .where(
        INGESTS.c.batch_id == BATCHES.c.id,
        INGESTS.c.options.has_key(PLAN),
        not_(INGESTS.c.options.has_key(APPROVED)),
    )
    .correlate(BATCHES)
    .exists()
)
# Of the batch in an outer statement. Its budget is not in here: what was bought before needs none.
BLOCKED = or_(RESTS, IS_CANCELLED, AWAITS_APPROVAL)

OF_THE_JOB = BATCHES.c.id == JOBS.c.batch_id
# Of the job in an outer statement, which is left out of any list of tables here.
BATCH_IS_BLOCKED = select(BATCHES.c.id).where(OF_THE_JOB, BLOCKED).correlate(JOBS).exists()
BATCH_IS_CANCELLED = select(BATCHES.c.id).where(OF_THE_JOB, IS_CANCELLED).correlate(JOBS).exists()
# Asked to end by itself or with its batch: what it paid for is still copied, and nothing more is bought.
JOB_IS_CANCELLED = or_(JOBS.c.cancelled_at.is_not(None), BATCH_IS_CANCELLED)
