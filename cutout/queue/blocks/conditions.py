"""Predicates that keep all jobs of a batch from being called, over the batch's own columns."""

from sqlalchemy import not_, or_, select

from cutout.models import BATCHES, INGESTS, JOBS
from cutout.queue.blocks.approval import APPROVED, PLAN
from cutout.queue.blocks.pauses import HAS_A_PAUSE, IS_PAUSED

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
# About the batch of an outer statement. The budget is not included: a job that reuses a cutout needs none.
IS_BLOCKED = or_(IS_PAUSED, IS_CANCELLED, AWAITS_APPROVAL)

# About the batch of the job in an outer statement, which is left out of any list of tables here.
BATCH_OF_JOB = select(BATCHES.c.id).where(BATCHES.c.id == JOBS.c.batch_id).correlate(JOBS)
BATCH_IS_BLOCKED = BATCH_OF_JOB.where(IS_BLOCKED).exists()
BATCH_IS_CANCELLED = BATCH_OF_JOB.where(IS_CANCELLED).exists()
BATCH_HAS_A_PAUSE = BATCH_OF_JOB.where(HAS_A_PAUSE).exists()
BATCH_IS_PAUSED = BATCH_OF_JOB.where(IS_PAUSED).exists()
BATCH_AWAITS_APPROVAL = BATCH_OF_JOB.where(AWAITS_APPROVAL).exists()
BATCH_HAS_A_BUDGET = BATCH_OF_JOB.where(BATCHES.c.budget.is_not(None)).exists()
BATCH_IS_OVER_BUDGET = BATCH_OF_JOB.where(BATCHES.c.spent >= BATCHES.c.budget).exists()
BATCH_FORBIDS_REUSE = BATCH_OF_JOB.where(not_(BATCHES.c.reuse)).exists()
# Cancelled by itself or with its batch: a paid result is still copied, and nothing more is bought.
JOB_IS_CANCELLED = or_(JOBS.c.cancelled_at.is_not(None), BATCH_IS_CANCELLED)
