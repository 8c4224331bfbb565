"""The fields of a job that its producer may see, read by one query; they contain no secrets."""

import uuid
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Uuid, bindparam, func, select

from cutout.enums import AttemptOutcome, OutputState
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database
from cutout.status.outputs import (
    DELIVERED,
    IDS,
    IS_DELIVERED,
    JobOutput,
    delivered,
    outputs_of_jobs,
    score_of,
)

STORED = ("key", "sha256", "media_type", "size_bytes", "width", "height")
BOUGHT = "bought_"


class JobSnapshot(NamedTuple):
    """The shown columns of a job, its outputs, and the credits that it cost.

    `key` to `height` are of the picture that it delivers: null while that is waiting, and if it failed.
    `score` has the score and its `reasons`; `renditions` are those that the job itself asked for.
    """

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
    bought_form: str
    bought_key: str | None
    bought_sha256: bytes | None
    bought_media_type: str | None
    bought_size_bytes: int | None
    bought_width: int | None
    bought_height: int | None
    outputs: tuple[JobOutput, ...]
    score: dict[str, Any] | None
    warning: str | None
    unexpected: dict[str, Any] | None
    credits: int
    source: str
    priority: int
    full_size: bool
    renditions: dict[str, dict[str, str]] | None
    webhook_url: str | None
    metadata: dict[str, str] | None
    natural_key: str | None

    @property
    def waits_for_outputs(self) -> bool:
        """Whether an output of it is still to be made."""
        return any(output.state == OutputState.WAITING for output in self.outputs)

    def output(self, name: str) -> JobOutput | None:
        """The output of this name, if there is one."""
        return next((output for output in self.outputs if output.name == name), None)


CREDITS = (
    select(func.count())
    .where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED))
    .correlate(JOBS)
    .scalar_subquery()
)
_OUTPUTS = outputs_of_jobs()
_COLUMNS: dict[str, ColumnElement[Any]] = {
    **{name: delivered(name) for name in STORED},
    **{BOUGHT + name: JOBS.c[name] for name in STORED},
    "outputs": _OUTPUTS.c.outputs,
    "score": score_of(JOBS),
    "credits": CREDITS,
}
# Jobs by their `ids`.
SNAPSHOT: Select[*tuple[object, ...]] = (
    select(
        *((_COLUMNS[name] if name in _COLUMNS else JOBS.c[name]).label(name) for name in JobSnapshot._fields)
    )
    .select_from(JOBS)
    .outerjoin(DELIVERED, IS_DELIVERED)
    .outerjoin(_OUTPUTS, _OUTPUTS.c.job_id == JOBS.c.id)
    .where(JOBS.c.id == IDS)
)
OWN_JOB = SNAPSHOT.where(JOBS.c.producer_id == bindparam("producer", type_=Uuid))


def find_job(database: Database, job_id: uuid.UUID, producer_id: uuid.UUID) -> JobSnapshot | None:
    """The producer's job with this id; None if it does not exist or belongs to another producer."""
    row = database.execute(OWN_JOB, {"ids": [job_id], "producer": producer_id}).first()
    return None if row is None else job_snapshot(row)


def job_snapshot(row: Row[*tuple[object, ...]]) -> JobSnapshot:
    """Build from a row of SNAPSHOT."""
    values: dict[str, Any] = dict(zip(JobSnapshot._fields, row, strict=True))
    return JobSnapshot(**values | {"outputs": JobOutput.of(values["outputs"])})
