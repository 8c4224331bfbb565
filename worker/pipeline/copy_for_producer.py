"""Cutouts in the bucket: a job's key and metadata, and copies of cutouts that another producer bought."""

import uuid
from dataclasses import replace
from typing import Protocol

from cutout.enums import ReturnForm
from cutout.queue.attempts.outcomes import StoredObject
from cutout.storage.object_keys import cutout_key, extension_of
from worker.pipeline.context import WorkerContext


class CutoutOwner(Protocol):
    """The fields of a claim, or of a job in a message, that its cutout's key and metadata are made of."""

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
    @property
    def bought_form(self) -> ReturnForm: ...


def key_and_metadata(context: WorkerContext, job: CutoutOwner, extension: str) -> tuple[str, dict[str, str]]:
    """The key of the job's cutout, and the metadata of its object."""
    key = cutout_key(
        context.settings.key_template,
        job_id=job.job_id,
        producer_id=job.producer_id,
        batch_id=job.batch_id,
        external_id=job.external_id,
        return_form=job.return_form,
        bought_form=job.bought_form,
        extension=extension,
    )
    return key, {"job": str(job.job_id), "fence": str(job.fence), "form": job.bought_form}


def copied(context: WorkerContext, job: CutoutOwner, stored: StoredObject) -> StoredObject:
    """Copy a cutout to the job's own key, verified; nothing of its buyer remains. Raises StorageError.

    Should this process die before the job's row names the copy, the job is served again under the same key.
    """
    key, metadata = key_and_metadata(context, job, extension_of(stored.media_type))
    context.bucket.copy(
        stored.key,
        to=key,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        media_type=stored.media_type,
        metadata=metadata,
    )
    return replace(stored, key=key)
