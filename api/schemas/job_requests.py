"""Requests about jobs."""

import uuid

from pydantic import BaseModel, ConfigDict

from api.schemas.addresses import SourceUrl, WebhookUrl
from api.schemas.fields import ExternalId, PriorityName
from cutout.enums import PRIORITIES, ReturnForm
from cutout.queue.enqueue import NewJob


class JobOptions(BaseModel):
    """Options of a job."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId | None = None
    return_form: ReturnForm = ReturnForm.RGBA
    priority: PriorityName = "normal"
    batch_id: uuid.UUID | None = None
    webhook_url: WebhookUrl | None = None

    def to_new_job(self, source: str) -> NewJob:
        return NewJob(
            source=source,
            external_id=self.external_id,
            return_form=self.return_form,
            priority=PRIORITIES[self.priority],
            webhook_url=self.webhook_url,
        )


class JobRequest(JobOptions):
    """A job whose picture is fetched from an address."""

    source_url: SourceUrl
