"""Results that are written anew after a deletion, and the reports of schedules' runs that repeat them."""

import uuid

from sqlalchemy import Engine, or_, select

from cutout.models import BATCHES, JOBS, RUNS
from cutout.results import keep_results
from cutout.schedules.report_publish import write_report
from cutout.storage import Bucket

# A run ends before its batch where a job of it is held: its report may repeat a job that was deleted while
# there were no results yet to be written anew.
DELETED_SINCE = (
    select(JOBS.c.id)
    .where(JOBS.c.batch_id == RUNS.c.batch_id, JOBS.c.deleted_at >= RUNS.c.finished_at)
    .correlate(RUNS)
    .exists()
)
UNWRITTEN = (
    select(RUNS.c.id)
    .join(BATCHES, BATCHES.c.id == RUNS.c.batch_id)
    .where(RUNS.c.report_key.is_not(None), or_(BATCHES.c.results_unwritten_at.is_not(None), DELETED_SINCE))
)


def keep_results_and_reports(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> bool:
    """Write a batch's results, after the reports that were there before a job of it was deleted.

    The batch's row says that they are to be written until the results are. Raises StorageError.
    """
    with engine.connect() as connection:
        runs = connection.scalars(UNWRITTEN.where(BATCHES.c.id == batch_id)).all()
    for run_id in runs:
        write_report(engine, bucket, run_id)
    return keep_results(engine, bucket, batch_id)
