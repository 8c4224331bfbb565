"""Health checks of the bucket's contents: overdue results files, cutouts that differ from their rows.

They return nothing where Postgres or the bucket is unreachable, which other checks report.
"""

import random
from datetime import timedelta

from sqlalchemy import Engine, func, select, union
from sqlalchemy.exc import DBAPIError

from cutout.models import BATCHES, JOBS, OUTPUTS
from cutout.monitoring.check import Check, failed, is_reported_elsewhere, passed
from cutout.results.publish import ENDED, RENDERED
from cutout.storage import Bucket, StorageError

# Results of a million jobs take less than a minute, and some batches may have ended at once.
LATE_AFTER = timedelta(minutes=15)
LAST_END = select(func.max(JOBS.c.finished_at)).where(JOBS.c.batch_id == BATCHES.c.id).scalar_subquery()
LATE = ENDED.where(func.now() - LATE_AFTER > LAST_END)
LAST_OUTPUT = (
    select(func.max(OUTPUTS.c.finished_at)).where(OUTPUTS.c.batch_id == BATCHES.c.id).scalar_subquery()
)
LATE_AFTER_OUTPUTS = RENDERED.where(func.now() - LATE_AFTER > LAST_OUTPUT)

# Recent jobs: another program that writes into the bucket, or an older key template, affects these.
MOST_EXAMINED = 2000
MOST_SAMPLED = 20
DIFFERENCE_REMEDY = (
    "find out what else writes there, and check that CUTOUT_KEY_TEMPLATE gives each job its own key;"
    " `cutout retry` does not restore them, enqueue them again"
)
RECENT = select(JOBS.c.id).order_by(JOBS.c.id.desc()).limit(MOST_EXAMINED)
LATEST = select(JOBS.c.id, JOBS.c.key, JOBS.c.sha256, JOBS.c.size_bytes).where(
    JOBS.c.id.in_(RECENT), JOBS.c.key.is_not(None)
)
LATEST_OUTPUTS = select(OUTPUTS.c.job_id, OUTPUTS.c.key, OUTPUTS.c.sha256, OUTPUTS.c.size_bytes).where(
    OUTPUTS.c.job_id.in_(RECENT), OUTPUTS.c.key.is_not(None)
)


def check_results(engine: Engine) -> list[Check]:
    """Check that the results of ended batches are in the bucket."""
    try:
        with engine.connect() as connection:
            late = [
                str(batch)
                for query in (LATE, LATE_AFTER_OUTPUTS)
                for batch in connection.scalars(query, {"but": []})
            ]
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if not late:
        return [passed("results")]
    minutes = LATE_AFTER.total_seconds() / 60
    found = f"not in the bucket {minutes:.0f} minutes after their jobs or outputs ended: {', '.join(late)}"
    remedy = "see the log of the leading dispatcher, which tries again each minute"
    return [failed("results", found, remedy)]


def check_objects(engine: Engine, bucket: Bucket) -> list[Check]:
    """Check a sample of recent cutouts and outputs by their hash."""
    try:
        with engine.connect() as connection:
            rows = connection.execute(union(LATEST, LATEST_OUTPUTS)).all()
        sampled = random.sample(rows, min(len(rows), MOST_SAMPLED))
        differ = [
            row for row in sampled if not bucket.holds(row.key, sha256=row.sha256, size_bytes=row.size_bytes)
        ]
        # A missing object may have been deleted on purpose.
        wrong = [f"{row.key} of job {row.id}" for row in differ if bucket.has(row.key)]
    except StorageError:
        return []
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if not wrong:
        return [passed("objects")]
    found = f"{len(wrong)} of {len(sampled)} objects differ from what their jobs stored: {'; '.join(wrong)}"
    return [failed("objects", found, DIFFERENCE_REMEDY)]
