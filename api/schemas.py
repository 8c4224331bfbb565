"""What goes over the wire. States and forms are the words of jobs.states, no others."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from jobs.batches import BatchStatus
from jobs.enqueue import LONGEST_EXTERNAL_ID, LONGEST_SOURCE, NewJob
from jobs.models import Job
from jobs.states import PRIORITIES, ReturnForm, State, Step


def _web_address(value: str) -> str:
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(
            "must begin with https://; to send a picture itself, upload it as multipart field `image`"
        )
    return value


def _known_priority(value: str) -> str:
    if value not in PRIORITIES:
        raise ValueError(f"{value!r} is not one of {', '.join(PRIORITIES)}")
    return value


ExternalId = Annotated[str, Field(min_length=1, max_length=LONGEST_EXTERNAL_ID, examples=["SKU-4471"])]
PriorityName = Annotated[str, AfterValidator(_known_priority), Field(examples=["normal"])]


class JobOptions(BaseModel):
    """What can be said of a job beside its picture."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId | None = None
    return_form: ReturnForm = ReturnForm.RGBA
    priority: PriorityName = "normal"
    batch_id: uuid.UUID | None = None

    def to_new_job(self, source: str) -> NewJob:
        return NewJob(
            source=source,
            external_id=self.external_id,
            return_form=self.return_form,
            priority=PRIORITIES[self.priority],
        )


class JobRequest(JobOptions):
    """A job whose picture is fetched from an address."""

    source_url: Annotated[
        str,
        Field(max_length=LONGEST_SOURCE, examples=["https://shop.example/p/4471.jpg"]),
        AfterValidator(_web_address),
    ]


class BatchJobRequest(BaseModel):
    """A job of a batch. Without a return form it has the batch's."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId
    source_url: Annotated[str, Field(max_length=LONGEST_SOURCE), AfterValidator(_web_address)]
    return_form: ReturnForm | None = None


class BatchRequest(BaseModel):
    """Jobs to be enqueued together, all or none. More can be added one by one with their `batch_id`."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200, examples=["spring catalog"])]
    return_form: ReturnForm = ReturnForm.RGBA
    priority: PriorityName = "normal"
    weight: Annotated[
        float, Field(gt=0, le=1000, description="Its share of the endpoint beside other batches")
    ] = 1.0
    budget: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, description="Credits it may cost; jobs over it are held")
    ] = None
    jobs: list[BatchJobRequest] = []

    def to_new_jobs(self) -> list[NewJob]:
        return [
            NewJob(
                source=job.source_url,
                external_id=job.external_id,
                return_form=job.return_form or self.return_form,
                priority=PRIORITIES[self.priority],
            )
            for job in self.jobs
        ]


class ErrorView(BaseModel):
    """Why a job failed, is held, or rests."""

    code: str
    message: str | None


class ResultView(BaseModel):
    """The cutout: where it is in the bucket and what it is (bytes, pixels)."""

    key: str
    url: str
    media_type: str
    sha256: str
    size_bytes: int
    width: int
    height: int


class JobView(BaseModel):
    """A job as its producer sees it."""

    id: uuid.UUID
    batch_id: uuid.UUID | None
    external_id: str | None
    return_form: ReturnForm
    state: State
    step: Step
    tries: int
    credits: int
    scheduled_at: datetime
    created_at: datetime
    finished_at: datetime | None
    error: ErrorView | None
    result: ResultView | None


class ExplanationView(BaseModel):
    """Why a job is where it is: `why` for programs, `text` and `remedy` for people.

    `ahead` counts the calls before it, at most 100,000; `until` is when it is expected to move on.
    """

    state: State
    why: str
    text: str
    remedy: str | None
    ahead: int | None
    until: datetime | None


class BatchView(BaseModel):
    """A batch with its jobs counted by state."""

    id: uuid.UUID
    name: str
    created_at: datetime
    finished_at: datetime | None
    paused_at: datetime | None
    budget: int | None
    total: int
    counts: dict[State, int]


def view_job(job: Job, charged: int) -> JobView:
    """The job as its producer may see it; `charged` is in credits. Never the endpoint's URLs."""
    return JobView(
        id=job.id,
        batch_id=job.batch_id,
        external_id=job.external_id,
        return_form=ReturnForm(job.return_form),
        state=State(job.state),
        step=Step(job.step),
        tries=job.tries,
        credits=charged,
        scheduled_at=job.scheduled_at,
        created_at=job.created_at,
        finished_at=job.finished_at,
        error=ErrorView(code=job.code, message=job.message) if job.code else None,
        result=_view_result(job),
    )


def view_batch(batch: BatchStatus) -> BatchView:
    return BatchView(
        id=batch.id,
        name=batch.name,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        paused_at=batch.paused_at,
        budget=batch.budget,
        total=batch.total,
        counts=batch.counts,
    )


def _view_result(job: Job) -> ResultView | None:
    if job.key is None or job.sha256 is None:
        return None
    fields: dict[str, Any] = {
        "key": job.key,
        "url": f"/v1/jobs/{job.id}/result",
        "media_type": job.media_type,
        "sha256": job.sha256.hex(),
        "size_bytes": job.size_bytes,
        "width": job.width,
        "height": job.height,
    }
    return ResultView(**fields)
