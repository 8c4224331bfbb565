"""Copies of cutouts that another producer bought: an object of the job's own, with nothing of the other's."""

import uuid
from dataclasses import replace
from typing import Protocol

from cutout.enums import ReturnForm
from cutout.queue.attempts.outcomes import StoredObject
from cutout.storage.object_keys import cutout_key, extension_of
from worker.pipeline.context import WorkerContext


class OfAJob(Protocol):
    """As much of a claim, or of a job in a parcel, as its key and its object's metadata are made of."""

    @property
    def job_id(self) -> uuid.UUID: ...
    @property
    def fence(self) -> int: ...
    @property
    def producer_id(self) -> uuid.UUID | None: ...
    @property
    def batch_id(self) -> uuid.UUID | None: ...
    @property
    def external_id(self) -> str | None: ...
    @property
    def return_form(self) -> ReturnForm: ...


def key_for(context: WorkerContext, job: OfAJob, extension: str) -> str:
    """The key of the job's cutout."""
    return cutout_key(
        context.settings.key_template,
        job_id=job.job_id,
        producer_id=job.producer_id,
        batch_id=job.batch_id,
        external_id=job.external_id,
        return_form=job.return_form,
        extension=extension,
    )


def metadata_for(job: OfAJob) -> dict[str, str]:
    """The metadata of the job's object."""
    return {"job": str(job.job_id), "fence": str(job.fence), "form": job.return_form}


def copied(context: WorkerContext, job: OfAJob, stored: StoredObject) -> StoredObject:
    """A copy of a cutout under the job's own key, verified. Raises StorageError.

    Should this process die before the job's row names it, the job is served again under the same key.
    """
    key = key_for(context, job, extension_of(stored.media_type))
    context.bucket.copy(
        stored.key,
        to=key,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        media_type=stored.media_type,
        metadata=metadata_for(job),
    )
    return replace(stored, key=key)
