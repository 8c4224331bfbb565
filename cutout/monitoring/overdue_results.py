"""Results that should be in the bucket by now, as a check of health."""

from datetime import timedelta

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError, ProgrammingError

from cutout.models import BATCHES, JOBS
from cutout.models.database import is_away
from cutout.monitoring.health import Check
from cutout.results.publish import ENDED

NAME = "results"
# Results of a million jobs take less than a minute, and some batches may have ended at once.
LATE_AFTER = timedelta(minutes=15)

LAST_END = select(func.max(JOBS.c.finished_at)).where(JOBS.c.batch_id == BATCHES.c.id).scalar_subquery()
LATE = ENDED.where(func.now() - LATE_AFTER > LAST_END)


def check_results(engine: Engine) -> list[Check]:
    """One check; none where the database does not answer, which is another check's to report."""
    try:
        with engine.connect() as connection:
            late = [str(batch) for batch in connection.scalars(LATE, {"but": []})]
    except DBAPIError as error:
        if is_away(error) or isinstance(error, ProgrammingError):
            return []
        raise
    if not late:
        return [Check(NAME, ok=True, found="ok", needed=False)]
    minutes = LATE_AFTER.total_seconds() / 60
    found = f"not in the bucket {minutes:.0f} minutes after their batches ended: {', '.join(late)}"
    remedy = "see why in the log of the dispatcher that leads; it tries again each minute"
    return [Check(NAME, ok=False, found=found, remedy=remedy, needed=False)]
