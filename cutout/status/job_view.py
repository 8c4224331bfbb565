"""A job as whoever enqueued it may see it, read by one statement. Nothing of it is secret."""

import uuid
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, Uuid, bindparam, func, select

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database


class SeenJob(NamedTuple):
    """A job's row as far as it is shown, and the credits that it cost."""

    id: uuid.UUID
    batch_id: uuid.UUID | None
    external_id: str | None
    return_form: str
    state: str
    step: str
    tries: int
    standing: str | None
    place: float
    scheduled_at: datetime
    created_at: datetime
    finished_at: datetime | None
    cancelled_at: datetime | None
    code: str | None
    message: str | None
    key: str | None
    sha256: bytes | None
    media_type: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    warning: str | None
    unexpected: dict[str, Any] | None
    credits: int


CREDITS = (
    select(func.count())
    .where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED))
    .correlate(JOBS)
    .scalar_subquery()
)
SEEN: Select[*tuple[object, ...]] = select(
    *((CREDITS if name == "credits" else JOBS.c[name]).label(name) for name in SeenJob._fields)
)
OWN = SEEN.where(
    JOBS.c.id == bindparam("job", type_=Uuid), JOBS.c.producer_id == bindparam("producer", type_=Uuid)
)


def find_job(database: Database, job_id: uuid.UUID, producer_id: uuid.UUID) -> SeenJob | None:
    """The producer's job with this id; None if there is none, or it is another's."""
    row = database.execute(OWN, {"job": job_id, "producer": producer_id}).first()
    return None if row is None else SeenJob._make(row)


def as_seen(row: Row[*tuple[object, ...]]) -> SeenJob:
    """A row of SEEN."""
    return SeenJob._make(row)
