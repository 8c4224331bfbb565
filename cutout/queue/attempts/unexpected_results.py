"""Unexpected results: a worker records them, a person may accept one as the cutout."""

import uuid
from dataclasses import replace

from sqlalchemy import Select, bindparam, func, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import JSONB

from cutout.models import BATCHES, JOBS
from cutout.models.columns import COPY_STEP, HELD, QUEUED, READY
from cutout.models.database import Database
from cutout.queue.claims import FENCED, Claim
from cutout.storage.unexpected_bytes import Unexpected

# Bytes in the bucket are not needed in the lifeboat.
SAVE = (
    update(JOBS)
    .where(FENCED)
    .values(unexpected=bindparam("found", type_=JSONB), lifeboat_key=null())
    .returning(JOBS.c.id)
)

UNEXPECTED_SHA256 = JOBS.c.unexpected["sha256"].astext
ACCEPTED = JOBS.c.unexpected.op("||")(literal_column("""'{"accepted": true}'::jsonb"""))
NOT_ACCEPTED = JOBS.c.unexpected.op("||")(literal_column("""'{"accepted": false}'::jsonb"""))


def _accept() -> Select[uuid.UUID]:
    accepted = (
        update(JOBS)
        .where(
            JOBS.c.id == bindparam("accepted_job", type_=JOBS.c.id.type),
            JOBS.c.state == HELD,
            JOBS.c.deleted_at.is_(None),
            bindparam("seen_sha256") == UNEXPECTED_SHA256,
        )
        .values(
            state=QUEUED,
            queue_state=READY,
            step=COPY_STEP,
            scheduled_at=func.now(),
            tries=0,
            code=null(),
            message=null(),
            unexpected=ACCEPTED,
        )
        .returning(JOBS.c.id, JOBS.c.batch_id)
        .cte("accepted")
    )
    # As for a retry, the results of the batch must be written again.
    return select(accepted.c.id).add_cte(
        update(BATCHES)
        .where(BATCHES.c.id.in_(select(accepted.c.batch_id)))
        .values(results_key=null(), results_unwritten_at=null())
        .cte("unwritten")
    )


ACCEPT = _accept()


def save_unexpected(database: Database, claim: Claim, found: Unexpected) -> Claim:
    """Record that these bytes are in the bucket; returns the claim with them."""
    saved = database.scalar(SAVE, claim.as_parameters() | {"found": found.as_json()})
    if saved is None:
        return claim
    result = claim.result and replace(claim.result, lifeboat_key=None)
    return replace(claim, unexpected=found, result=result)


def accept(database: Database, job_id: uuid.UUID, found: Unexpected) -> bool:
    """Accept a held job's unexpected result as its cutout: the copy is next, and no call.

    False if the job is no longer held with exactly these bytes: it was retried, cancelled or accepted since.
    """
    return database.scalar(ACCEPT, {"accepted_job": job_id, "seen_sha256": found.sha256}) is not None
