"""The fields of a job that its producer may see, read by one query; they contain no secrets."""

import uuid
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, Uuid, bindparam, func, select

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database


class JobSnapshot(NamedTuple):
    """The shown columns of a job, and the credits that it cost."""

    id: uuid.UUID
    batch_id: uuid.UUID | None
    external_id: str | None
    return_form: str
    state: str
    step: str
    tries: int
    queue_state: str | None
    virtual_start: float
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
SNAPSHOT: Select[*tuple[object, ...]] = select(
    *((CREDITS if name == "credits" else JOBS.c[name]).label(name) for name in JobSnapshot._fields)
)
OWN_JOB = SNAPSHOT.where(
    JOBS.c.id == bindparam("job", type_=Uuid), JOBS.c.producer_id == bindparam("producer", type_=Uuid)
)


def find_job(database: Database, job_id: uuid.UUID, producer_id: uuid.UUID) -> JobSnapshot | None:
    """The producer's job with this id; None if it does not exist or belongs to another producer."""
    row = database.execute(OWN_JOB, {"job": job_id, "producer": producer_id}).first()
    return None if row is None else JobSnapshot._make(row)


def job_snapshot(row: Row[*tuple[object, ...]]) -> JobSnapshot:
    """Build from a row of SNAPSHOT."""
    return JobSnapshot._make(row)
