"""Unexpected results: written down by a worker, made the cutout by a person."""

import uuid
from dataclasses import replace

from sqlalchemy import Select, bindparam, func, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import JSONB

from cutout.enums import Standing, State, Step
from cutout.models import BATCHES, JOBS, constant
from cutout.models.database import Database
from cutout.queue.claims import FENCED, Claim
from cutout.storage.unexpected_bytes import Unexpected

# What lies in the bucket need not lie in the lifeboat.
SAVE = (
    update(JOBS)
    .where(FENCED)
    .values(unexpected=bindparam("found", type_=JSONB), lifeboat_key=null())
    .returning(JOBS.c.id)
)

ITS_SHA256 = JOBS.c.unexpected["sha256"].astext
ACCEPTED = JOBS.c.unexpected.op("||")(literal_column("""'{"accepted": true}'::jsonb"""))
NOT_ACCEPTED = JOBS.c.unexpected.op("||")(literal_column("""'{"accepted": false}'::jsonb"""))


def _accept() -> Select[uuid.UUID]:
    accepted = (
        update(JOBS)
        .where(
            JOBS.c.id == bindparam("accepted_job", type_=JOBS.c.id.type),
            JOBS.c.state == constant(State.HELD),
            JOBS.c.deleted_at.is_(None),
            bindparam("seen_sha256") == ITS_SHA256,
        )
        .values(
            state=constant(State.QUEUED),
            standing=constant(Standing.IN_LINE),
            step=constant(Step.COPY),
            scheduled_at=func.now(),
            tries=0,
            code=null(),
            message=null(),
            unexpected=ACCEPTED,
        )
        .returning(JOBS.c.id, JOBS.c.batch_id)
        .cte("accepted")
    )
    # As for a retry: the results of its batch are to be written anew.
    return select(accepted.c.id).add_cte(
        update(BATCHES)
        .where(BATCHES.c.id.in_(select(accepted.c.batch_id)))
        .values(results_key=null(), results_unwritten_at=null())
        .cte("unwritten")
    )


ACCEPT = _accept()


def save_unexpected(database: Database, claim: Claim, found: Unexpected) -> Claim:
    """Write down that these bytes lie in the bucket. The claim returned knows of them."""
    written = database.scalar(SAVE, claim.as_parameters() | {"found": found.as_json()})
    if written is None:
        return claim
    result = claim.result and replace(claim.result, lifeboat_key=None)
    return replace(claim, unexpected=found, result=result)


def accept(database: Database, job_id: uuid.UUID, found: Unexpected) -> bool:
    """Let a held job's unexpected result become its cutout: its copy is next, and no call.

    False if the job is no longer held with these very bytes: it was retried, cancelled or accepted meanwhile.
    """
    return database.scalar(ACCEPT, {"accepted_job": job_id, "seen_sha256": found.sha256}) is not None
