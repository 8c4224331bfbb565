"""Requests about batches."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field

from api.schemas.addresses import ManifestUrl, SourceUrl, WebhookUrl
from api.schemas.fields import (
    ColumnMap,
    Credits,
    Delimiter,
    ExternalId,
    Metadata,
    MetadataText,
    Patterns,
    PlainText,
    PriorityName,
    ReturnForms,
)
from api.schemas.output_requests import OutputFields
from cutout.enums import PRIORITIES, JobMessages, ReturnForm
from cutout.ingest import IngestOptions, ReadOptions
from cutout.manifests import parse_columns
from cutout.manifests.column_names import require_targets
from cutout.outputs.options import OutputDefaults
from cutout.queue.enqueue import NewJob

BatchName = Annotated[PlainText, Field(min_length=1, max_length=200, examples=["spring catalog"])]
Weight = Annotated[
    float, Field(ge=0.001, le=1000, description="Its share of the endpoint beside other batches")
]


class BatchJobRequest(BaseModel):
    """A job of a batch. Without a return form it has the batch's."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId
    source_url: SourceUrl
    return_form: ReturnForm | None = None


class BatchOptions(OutputFields, BaseModel):
    """Options of a batch."""

    model_config = ConfigDict(extra="forbid")

    name: BatchName
    return_form: ReturnForms = [ReturnForm.RGBA]
    priority: PriorityName = "normal"
    weight: Weight = 1.0
    budget: Annotated[Credits | None, Field(description="Credits it may cost; jobs over it are held")] = None
    reuse: Annotated[bool, Field(description="Take cutouts that were bought before")] = True
    plan: Annotated[bool, Field(description="Hold all jobs until the batch is approved")] = False
    strict: Annotated[bool, Field(description="Of a manifest: stop at the first row that is rejected")] = (
        False
    )
    encoding: Annotated[
        PlainText | None,
        Field(
            max_length=40,
            description="Of a manifest, or of names in a zip, if it is not UTF-8: latin-1, cp1252 …",
        ),
    ] = None
    delimiter: Delimiter = None
    many: Annotated[
        bool, Field(description="Of a manifest: one id may stand for several pictures, which are numbered")
    ] = False
    include: Patterns = []
    exclude: Patterns = []
    metadata: Metadata = {}

    def to_order(
        self, columns: Mapping[str, str], producer_id: uuid.UUID, defaults: OutputDefaults
    ) -> IngestOptions:
        return IngestOptions(
            self.name,
            forms=tuple(self.return_form),
            priority=PRIORITIES[self.priority],
            weight=self.weight,
            budget=self.budget,
            reuse=self.reuse,
            plan=self.plan,
            strict=self.strict,
            outputs=self.requested_outputs().complete(defaults),
            reading=ReadOptions(
                columns,
                self.encoding,
                foreign=True,
                delimiter=self.delimiter,
                many=self.many,
                include=tuple(self.include),
                exclude=tuple(self.exclude),
            ),
            producer_id=producer_id,
            metadata=self.metadata,
        )


class ManifestQuery(BatchOptions):
    """Query parameters of a manifest that is the body."""

    map: Annotated[
        PlainText | None,
        Field(
            max_length=2000,
            description='Which column is which, e.g. external_id=SKU,source="Image URL"',
            examples=['external_id=SKU,source="Image URL"'],
        ),
    ] = None
    metadata: MetadataText = {}

    def columns(self) -> dict[str, str]:
        """Raises ValueError."""
        return parse_columns(self.map) if self.map else {}


class BatchRequest(BatchOptions):
    """Jobs to be enqueued together, all or none, or a manifest to be fetched from an address.

    More can be added one by one with their `batch_id`.
    """

    webhook_url: WebhookUrl | None = None
    webhook_jobs: Annotated[
        JobMessages,
        Field(description="Messages to `webhook_url` about its jobs: none, one for each, or one for many"),
    ] = JobMessages.NONE
    # Only the first faulty item of a list is reported.
    jobs: Annotated[list[BatchJobRequest], FailFast()] = []
    manifest_url: ManifestUrl = None
    map: ColumnMap = {}

    def to_order(
        self, columns: Mapping[str, str], producer_id: uuid.UUID, defaults: OutputDefaults
    ) -> IngestOptions:
        # Not an option of a query: a webhook's address may hold a token.
        order = super().to_order(columns, producer_id, defaults)
        return replace(order, webhook_url=self.webhook_url, webhook_jobs=self.webhook_jobs)

    def columns(self) -> dict[str, str]:
        """Raises ValueError."""
        require_targets(self.map)
        return self.map

    def to_new_jobs(self, defaults: OutputDefaults) -> list[NewJob]:
        # The batch itself has the renditions.
        outputs = replace(self.requested_outputs().complete(defaults), renditions={})
        return [
            NewJob(
                source=job.source_url,
                external_id=job.external_id,
                return_form=form,
                priority=PRIORITIES[self.priority],
                outputs=outputs,
            )
            for job in self.jobs
            for form in ([job.return_form] if job.return_form else self.return_form)
        ]
