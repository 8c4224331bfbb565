"""A look at whether the bucket holds cutouts as their jobs' rows say, as a check of health."""

import random

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, ProgrammingError

from cutout.models import JOBS
from cutout.models.database import is_away
from cutout.monitoring.health import Check
from cutout.storage import Bucket, StorageError

NAME = "objects"
# Of the jobs enqueued last: what else writes into the bucket, or an older key template, does so now.
LOOKED_THROUGH = 2000
MOST_ASKED = 20
REMEDY = (
    "see what else writes there, and that CUTOUT_KEY_TEMPLATE gives each job a key of its own;"
    " `cutout retry` does not bring them back, a job enqueued anew does"
)
LATEST = select(JOBS.c.id, JOBS.c.key, JOBS.c.sha256, JOBS.c.size_bytes).where(
    JOBS.c.id.in_(select(JOBS.c.id).order_by(JOBS.c.id.desc()).limit(LOOKED_THROUGH)), JOBS.c.key.is_not(None)
)


def check_objects(engine: Engine, bucket: Bucket) -> list[Check]:
    """One check of some cutouts of late, by their hash; none where the stores do not answer, which is another
    check's to report.
    """
    try:
        with engine.connect() as connection:
            rows = connection.execute(LATEST).all()
        sampled = random.sample(rows, min(len(rows), MOST_ASKED))
        differ = [
            row for row in sampled if not bucket.holds(row.key, sha256=row.sha256, size_bytes=row.size_bytes)
        ]
        # What is not there any more may have been deleted on purpose.
        wrong = [f"{row.key} of job {row.id}" for row in differ if bucket.has(row.key)]
    except StorageError:
        return []
    except DBAPIError as error:
        if is_away(error) or isinstance(error, ProgrammingError):
            return []
        raise
    if not wrong:
        return [Check(NAME, ok=True, found="ok", needed=False)]
    found = (
        f"{len(wrong)} of {len(sampled)} cutouts are not the ones that their jobs stored: {'; '.join(wrong)}"
    )
    return [Check(NAME, ok=False, found=found, remedy=REMEDY, needed=False)]
