"""Quotas: the limit of a producer's unfinished jobs, enforced without counting them at every POST."""

import uuid

from sqlalchemy import func, or_, select, text, update

from cutout.models import Job, Producer
from cutout.models.database import Database

COUNT_EVERY = text("interval '1 second'")


class QuotaReachedError(Exception):
    """The producer's unfinished jobs together with the requested ones would exceed its quota."""

    def __init__(self, producer_id: uuid.UUID, quota: int, asked: int) -> None:
        super().__init__(f"the quota is {quota} unfinished jobs, and there is no room for {asked} more")
        self.producer_id, self.quota, self.asked = producer_id, quota, asked


def take_quota(database: Database, producer_id: uuid.UUID, count: int) -> None:
    """Reserve room for `count` jobs in the caller's transaction; raises QuotaReachedError if there is none.

    The stored number can only be too high, since jobs end by themselves. Before a job is refused, the
    unfinished ones are counted again, at most once a second. A caller that rolls back because of the error
    calls `count_anew` in another transaction, so that the new count is not lost.
    """
    if _taken(database, producer_id, count):
        return
    count_anew(database, producer_id)
    if not _taken(database, producer_id, count):
        quota = database.scalars(select(Producer.job_quota).where(Producer.id == producer_id)).one()
        if quota is not None:
            raise QuotaReachedError(producer_id, quota, count)


def take_up_to(database: Database, producer_id: uuid.UUID, count: int) -> int:
    """Reserve room for as many of `count` jobs as fit, in the caller's transaction; returns their number."""
    if _taken(database, producer_id, count):
        return count
    count_anew(database, producer_id)
    free = select(Producer.job_quota - Producer.quota_taken).where(Producer.id == producer_id)
    # Not the lock that waits for writers of its rows: they may hold what the caller locks next.
    room = database.scalars(free.with_for_update(key_share=True)).one()
    granted = count if room is None else min(count, max(room, 0))
    return granted if _taken(database, producer_id, granted) else 0


def give_back(database: Database, producer_id: uuid.UUID, count: int) -> None:
    """Release room reserved for jobs that were not made, in the transaction that reserved it."""
    database.execute(
        update(Producer)
        .where(Producer.id == producer_id, Producer.job_quota.is_not(None))
        .values(quota_taken=func.greatest(Producer.quota_taken - count, 0))
        .execution_options(synchronize_session=False)
    )


def room_of(database: Database, producer_id: uuid.UUID, wanted: int) -> int | None:
    """The number of jobs there is room for, counted anew if fewer than wanted; None without a quota."""
    quota_row = select(Producer.job_quota, Producer.quota_taken).where(Producer.id == producer_id)
    quota, taken = database.execute(quota_row).one()
    if quota is not None and quota - taken < wanted:
        count_anew(database, producer_id)
        quota, taken = database.execute(quota_row).one()
    return None if quota is None else max(quota - taken, 0)


def _taken(database: Database, producer_id: uuid.UUID, count: int) -> bool:
    """Reserve room and return whether it succeeded. Without a quota nothing is written, and it is True."""
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
    # The row is now locked: this producer enqueues nothing while its jobs are counted.
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
