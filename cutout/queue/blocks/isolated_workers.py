"""Isolated workers: they cannot reach the bucket, while others may."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, null, select, update

from cutout.models import WORKERS
from cutout.models.database import Database
from cutout.queue.workers import HEARD_WITHIN
from cutout.text import cut

LIVES = and_(WORKERS.c.left_at.is_(None), WORKERS.c.heartbeat_at > func.now() - HEARD_WITHIN)
IS_CUT_OFF = and_(WORKERS.c.cut_off_at.is_not(None), LIVES)
# Copies are left to another worker whose last heartbeat is at most so old: it may have died since.
TRUSTED_FOR = timedelta(seconds=10)
# Reports that open the breaker on the bucket; the dispatcher's own probe may be one of them.
REPORTS = 2


@dataclass(frozen=True, slots=True)
class CutOffWorker:
    """A worker process that cannot reach the bucket since a time, and the error it got."""

    host: str
    pid: int
    since: datetime
    reason: str


def cut_off(database: Database, worker_id: uuid.UUID, reason: str) -> int:
    """Record that this worker cannot reach the bucket; returns how many living workers report that."""
    database.execute(
        update(WORKERS)
        .where(WORKERS.c.id == worker_id)
        .values(cut_off_at=func.coalesce(WORKERS.c.cut_off_at, func.now()), cut_off_reason=cut(reason))
    )
    return database.scalars(select(func.count()).select_from(WORKERS).where(IS_CUT_OFF)).one()


def back(database: Database, worker_id: uuid.UUID) -> None:
    """Record that this worker reaches the bucket again."""
    database.execute(
        update(WORKERS).where(WORKERS.c.id == worker_id).values(cut_off_at=null(), cut_off_reason=null())
    )


def cut_off_workers(database: Database) -> list[CutOffWorker]:
    """List the living workers that cannot reach the bucket, the one isolated for longest first."""
    rows = database.execute(
        select(WORKERS.c.host, WORKERS.c.pid, WORKERS.c.cut_off_at, WORKERS.c.cut_off_reason)
        .where(IS_CUT_OFF)
        .order_by(WORKERS.c.cut_off_at)
    )
    return [CutOffWorker(row.host, row.pid, row.cut_off_at, row.cut_off_reason or "") for row in rows]


def others_reach_bucket(database: Database) -> bool:
    """Whether another living worker reaches the bucket, so that copies are better left to it."""
    fresh = WORKERS.c.heartbeat_at > func.now() - TRUSTED_FOR
    healthy = select(WORKERS.c.id).where(WORKERS.c.cut_off_at.is_(None), LIVES, fresh)
    return database.scalar(select(healthy.exists())) is True
