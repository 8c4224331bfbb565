"""A worker without Celery: what the task does, called straight."""

import io
import uuid
from dataclasses import dataclass

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cutout.enums import Forms, ReturnForm
from cutout.models import Attempt, Job
from cutout.outputs.options import OutputOptions
from cutout.queue.dispatch import dispatch_calls, dispatch_copies
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.queue.reuse.waiting_jobs import WaitingJobsPromoter
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.steps import LEASE
from worker.pipeline.context import WorkerContext
from worker.pipeline.process import process


@dataclass
class Bench:
    """Hands jobs out as the dispatcher would, without its judgement, and carries them out."""

    engine: Engine
    bucket: Bucket
    context: WorkerContext

    def enqueue(
        self,
        source: bytes | str,
        form: ReturnForm = ReturnForm.RGBA,
        *,
        producer_id: uuid.UUID | None = None,
        forms: Forms = Forms.DERIVED,
    ) -> uuid.UUID:
        """A new job in line, of a batch of its own."""
        address = source if isinstance(source, str) else self.upload(source, producer_id)
        with Session(self.engine) as session, session.begin():
            batch = create_batch(session, "b", producer_id=producer_id)
            job = NewJob(address, "SKU", form, outputs=OutputOptions(forms))
            return enqueue(session, job, batch_id=batch.id, producer_id=producer_id)

    def upload(self, source: bytes, producer_id: uuid.UUID | None = None) -> str:
        """A picture as an uploaded source."""
        return upload_source(self.bucket, io.BytesIO(source), producer_id)

    def work(self) -> None:
        """Hand out what is in line or rests, and process it."""
        with Session(self.engine) as session, session.begin():
            session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE queue_state = 'delayed'"))
            WaitingJobsPromoter().promote(session)
            dispatched = dispatch_calls(session, 10, lease=LEASE)
            dispatched += dispatch_copies(session, 10, lease=LEASE)
        for job_id, fence in dispatched:
            process(self.context, job_id, fence)

    def job(self, job_id: uuid.UUID) -> Job:
        """The job as it is now."""
        with Session(self.engine) as session:
            return session.get_one(Job, job_id)

    def attempts(self, job_id: uuid.UUID) -> list[Attempt]:
        """Its calls, the first one first."""
        with Session(self.engine) as session:
            return list(
                session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number))
            )

    def done(
        self,
        source: bytes | str,
        form: ReturnForm = ReturnForm.RGBA,
        *,
        rounds: int = 1,
        forms: Forms = Forms.DERIVED,
    ) -> Job:
        """A new job after so many rounds of work."""
        job_id = self.enqueue(source, form, forms=forms)
        for _ in range(rounds):
            self.work()
        return self.job(job_id)

    def change(self, job_id: uuid.UUID, what: str) -> None:
        """Change the job's row behind everybody's back; `what` is SQL."""
        with self.engine.begin() as connection:
            connection.execute(text(f"UPDATE jobs SET {what} WHERE id = :id"), {"id": job_id})  # noqa: S608
