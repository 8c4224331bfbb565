"""Requests about jobs."""

import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.addresses import SourceUrl, WebhookUrl
from api.schemas.fields import ExternalId, Metadata, MetadataText, PriorityName
from api.schemas.output_requests import OutputFields
from cutout.enums import PRIORITIES, ReturnForm, Unique
from cutout.outputs.options import OutputDefaults
from cutout.queue.enqueue import NewJob


class JobOptions(OutputFields, BaseModel):
    """Options of a job."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId | None = None
    return_form: ReturnForm = ReturnForm.RGBA
    priority: PriorityName = "normal"
    batch_id: uuid.UUID | None = None
    webhook_url: WebhookUrl | None = None
    unique: Annotated[
        Unique,
        Field(
            description="`batch`: an external id is given once in a batch for each return form."
            " `producer`: once among all your jobs that say so; a second one is refused with 409 and the id"
            " of the first"
        ),
    ] = Unique.BATCH
    metadata: Metadata = {}

    def to_new_job(self, source: str, defaults: OutputDefaults) -> NewJob:
        return NewJob(
            source=source,
            external_id=self.external_id,
            return_form=self.return_form,
            priority=PRIORITIES[self.priority],
            webhook_url=self.webhook_url,
            outputs=self.requested_outputs().complete(defaults),
            metadata=self.metadata,
            unique=self.unique,
        )


class JobForm(JobOptions, BaseModel):
    """The fields of a form with a picture, besides the picture."""

    metadata: MetadataText = {}


class JobRequest(JobOptions):
    """A job whose picture is fetched from an address."""

    source_url: SourceUrl
