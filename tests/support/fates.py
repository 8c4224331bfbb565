"""Batches whose jobs ended in different ways."""

import uuid
from collections.abc import Mapping

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.queue.attempts.outcomes import Outcome, StoredObject, Succeeded
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.queue.settle import settle
from tests.support.steps import SOURCE, claim_one, new_worker

# Each job by its external id, or that and its form, and what became of it; None leaves it in line.
Fates = Mapping[str | tuple[str, ReturnForm], Outcome | None]

DONE = Succeeded(StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 12_345, 10, 20))


def make_batch(
    engine: Engine, fates: Fates, *, name: str = "b", producer_id: uuid.UUID | None = None
) -> uuid.UUID:
    """The batch's id. What is left in line is enqueued last."""
    with Session(engine) as session, session.begin():
        batch = create_batch(session, name, producer_id=producer_id)
        worker_id = new_worker(session)
        for job, outcome in fates.items():
            if outcome is not None:
                enqueue(session, _new_job(job), batch_id=batch.id)
                settle(session, claim_one(session, worker_id), outcome)
        for job, outcome in fates.items():
            if outcome is None:
                enqueue(session, _new_job(job), batch_id=batch.id)
        return batch.id


def _new_job(job: str | tuple[str, ReturnForm]) -> NewJob:
    external_id, form = (job, ReturnForm.RGBA) if isinstance(job, str) else job
    return NewJob(SOURCE, external_id, form)
