"""Promotion: jobs whose delay or lease is over become ready again.

Other promotions: blocked jobs in cutout/queue/blocks/blocked_jobs.py, jobs over their producer's bound on
downloads in blocks/download_limit.py, jobs that wait for the same picture in reuse/waiting_jobs.py.
"""

from sqlalchemy import DateTime, bindparam, func, select, update

from cutout.enums import Step
from cutout.models import JOBS
from cutout.models.columns import DELAYED, DISPATCHED, READY, REUSING
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.queue.queue_scan import JOB_OWNER
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.snapshot_watermarks import SnapshotWatermarks

MOST_PROMOTED = 1000

DUE = select(JOBS.c.id).where(
    JOBS.c.queue_state.in_([DELAYED, DISPATCHED, REUSING]),
    JOBS.c.scheduled_at <= func.now(),
    JOBS.c.scheduled_at >= bindparam("due_since", type_=DateTime(timezone=True)),
)

PROMOTE = (
    update(JOBS)
    .where(is_among(JOBS.c.id, DUE.limit(MOST_PROMOTED).with_for_update(skip_locked=True)))
    .values(queue_state=READY)
    .returning(JOBS.c.step, JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
)


def promote_due(
    database: Database,
    watermarks: SnapshotWatermarks | None = None,
    queue_watermarks: QueueWatermarks | None = None,
) -> int:
    """Make jobs ready whose delay is over, or whose message was not claimed in time; returns how many."""
    since = (watermarks or SnapshotWatermarks()).due
    rows = database.execute(PROMOTE, {"due_since": since}).all()
    if queue_watermarks is not None:
        queue_watermarks.added(row for row in rows if row.step == Step.CALL)
    return len(rows)
