"""How many unfinished jobs a producer may have, without counting them at every POST."""

import uuid

from sqlalchemy import func, or_, select, text, update

from cutout.models import Job, Producer
from cutout.models.database import Database

COUNT_EVERY = text("interval '1 second'")


class QuotaReachedError(Exception):
    """The producer's unfinished jobs and these would be more than its quota."""

    def __init__(self, producer_id: uuid.UUID, quota: int, asked: int) -> None:
        super().__init__(f"the quota is {quota} unfinished jobs, and there is no room for {asked} more")
        self.producer_id, self.quota, self.asked = producer_id, quota, asked


def take_quota(database: Database, producer_id: uuid.UUID, count: int) -> None:
    """Make room for `count` jobs in the caller's transaction; raises QuotaReachedError if there is none.

    What was taken is only ever too much, since jobs end by themselves. Where that would refuse a job, the
    unfinished ones are counted, unless they were within the last second. Whoever ends the transaction because
    of the error calls `count_anew` in another, so that the count is not lost with it.
    """
    if _taken(database, producer_id, count):
        return
    count_anew(database, producer_id)
    if not _taken(database, producer_id, count):
        quota = database.scalars(select(Producer.job_quota).where(Producer.id == producer_id)).one()
        if quota is not None:
            raise QuotaReachedError(producer_id, quota, count)


def take_up_to(database: Database, producer_id: uuid.UUID, count: int) -> int:
    """Make room for as many of `count` jobs as it goes, in the caller's transaction; returns how many."""
    if _taken(database, producer_id, count):
        return count
    count_anew(database, producer_id)
    its = select(Producer.job_quota - Producer.quota_taken).where(Producer.id == producer_id)
    room = database.scalars(its.with_for_update()).one()
    granted = count if room is None else min(count, max(room, 0))
    return granted if _taken(database, producer_id, granted) else 0


def give_back(database: Database, producer_id: uuid.UUID, count: int) -> None:
    """Return room that was taken for jobs that were not made, in the transaction that took it."""
    database.execute(
        update(Producer)
        .where(Producer.id == producer_id, Producer.job_quota.is_not(None))
        .values(quota_taken=func.greatest(Producer.quota_taken - count, 0))
        .execution_options(synchronize_session=False)
    )


def room_of(database: Database, producer_id: uuid.UUID, wanted: int) -> int | None:
    """For how many jobs there is room, counted anew if that is fewer than wanted; None without a quota."""
    its = select(Producer.job_quota, Producer.quota_taken).where(Producer.id == producer_id)
    quota, taken = database.execute(its).one()
    if quota is not None and quota - taken < wanted:
        count_anew(database, producer_id)
        quota, taken = database.execute(its).one()
    return None if quota is None else max(quota - taken, 0)


def _taken(database: Database, producer_id: uuid.UUID, count: int) -> bool:
    """Whether there was room or is no quota. Without a quota nothing is written."""
    quota = database.scalars(select(Producer.job_quota).where(Producer.id == producer_id)).one()
    if quota is None:
        return True
    taken = database.execute(
        update(Producer)
        .where(Producer.id == producer_id, Producer.quota_taken + count <= Producer.job_quota)
        .values(quota_taken=Producer.quota_taken + count)
        .returning(Producer.id)
        .execution_options(synchronize_session=False)
    )
    return taken.first() is not None


def count_anew(database: Database, producer_id: uuid.UUID) -> None:
    """Count the producer's unfinished jobs, unless that was done within the last second."""
    now = func.clock_timestamp()
    due = database.execute(
        update(Producer)
        .where(
            Producer.id == producer_id,
            or_(Producer.quota_counted_at.is_(None), Producer.quota_counted_at < now - COUNT_EVERY),
        )
        .values(quota_counted_at=now)
        .returning(Producer.id)
        .execution_options(synchronize_session=False)
    )
    # From here on the row is locked: nobody of this producer enqueues while it is counted.
    if due.first() is None:
        return
    unfinished = (
        select(func.count())
        .select_from(Job)
        .where(Job.producer_id == producer_id, Job.finished_at.is_(None))
        .scalar_subquery()
    )
    database.execute(
        update(Producer)
        .where(Producer.id == producer_id)
        .values(quota_taken=unfinished)
        .execution_options(synchronize_session=False)
    )
