"""Jobs as their producer sees them."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.examples import A_BATCH, A_JOB, A_MOMENT
from api.schemas.fields import NextCursor, PollAfter
from cutout.enums import Forms, OutputState, Priority, ReturnForm, State, Step, Unique
from cutout.ingest.pending import is_on_the_web
from cutout.network.shown_urls import host_of
from cutout.outputs.options import RequestedOutputs
from cutout.status.job_view import JobSnapshot
from cutout.status.outputs import JobOutput
from cutout.status.producer_texts import text_for_producer
from cutout.storage.unexpected_bytes import Unexpected


class SourceKind(StrEnum):
    """Kind of a job's source: an address, or a file that was sent, alone or in an archive."""

    ADDRESS = "address"
    UPLOAD = "upload"


class ErrorView(BaseModel):
    """Why a job failed, is held, or rests. Codes are listed in docs/reference/codes.md; they are stable."""

    code: Annotated[str, Field(examples=["IMAGE_NOT_A_PICTURE"])]
    message: Annotated[str | None, Field(examples=["the file starts with b'GIF8', which no picture does"])]


class StoredPictureView(BaseModel):
    """A picture in the bucket: its key, bytes and pixels."""

    key: Annotated[str, Field(examples=["cutouts/01a20515-06db-7dfe-a584-1fdef9ab3e38/SKU-4471.png"])]
    media_type: Annotated[str, Field(examples=["image/png"])]
    sha256: Annotated[
        str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    ]
    size_bytes: Annotated[int, Field(examples=[812_345])]
    width: Annotated[int, Field(examples=[1200])]
    height: Annotated[int, Field(examples=[1600])]


class ResultView(StoredPictureView):
    """The delivered picture, in its return form and final size: its key in the bucket, bytes and pixels."""

    url: Annotated[str, Field(description="Redirects to the picture", examples=[f"/v1/jobs/{A_JOB}/result"])]
    warning: Annotated[
        str | None,
        Field(
            description="In what it differs from what was ordered",
            examples=["600x800 pixels for the 1200x1600 sent"],
        ),
    ]


class BoughtView(StoredPictureView):
    """The picture that was bought, as the endpoint sent it; all outputs are made of it."""

    form: ReturnForm
    url: Annotated[str, Field(description="Redirects to it", examples=[f"/v1/jobs/{A_JOB}/bought"])]


class OutputView(BaseModel):
    """A file that is made of what was bought: the return form at full size, or a rendition.

    Null fields have no value before it is `made`.
    """

    name: Annotated[str, Field(description="A return form, or the name of a rendition", examples=["amazon"])]
    state: Annotated[
        OutputState, Field(description="`made` and `failed` are final", examples=[OutputState.MADE])
    ]
    url: Annotated[
        str | None,
        Field(description="Redirects to it once it is made", examples=[f"/v1/jobs/{A_JOB}/outputs/amazon"]),
    ]
    key: Annotated[str | None, Field(description="Its key in the bucket")]
    sha256: str | None
    media_type: Annotated[str | None, Field(examples=["image/jpeg"])]
    size_bytes: Annotated[int | None, Field(examples=[412_345])]
    width: Annotated[int | None, Field(examples=[2000])]
    height: Annotated[int | None, Field(examples=[2000])]
    factor: Annotated[
        float | None, Field(description="Enlargement against the picture that was sent", examples=[2.5])
    ]
    derived_from: Annotated[str, Field(description="SHA-256 of what was bought")]
    recipe: Annotated[str, Field(examples=["amazon"])]
    version: Annotated[int | None, Field(description="Version of the code that made it", examples=[1])]
    measures: Annotated[dict[str, Any] | None, Field(description="Measures of the stored file, by name")]
    problems: Annotated[list[str], Field(description="Demands of its rule that it does not meet")]
    note: Annotated[str | None, Field(description="Why it is not as large as its source, if it is not")]
    error: Annotated[ErrorView | None, Field(description="Why it failed, or why its last try failed")]


class ScoreReasonView(BaseModel):
    """A measure that makes a cutout suspicious, with its value."""

    measure: Annotated[str, Field(examples=["holes"])]
    value: Annotated[float | None, Field(examples=[0.12])]
    text: str


class ScoreView(BaseModel):
    """Suspicion of the cutout, 0 to 1: advice, never a failure."""

    score: Annotated[float, Field(description="0 (nothing found) to 1", examples=[0.04])]
    reasons: list[ScoreReasonView]


class UnexpectedView(BaseModel):
    """Unexpected bytes that came for a paid call. They are kept until a person decides."""

    reason: Annotated[str, Field(examples=["a RGB png of 1200x1600 has no alpha of use, as 'rgba'"])]
    url: Annotated[str, Field(description="Redirects to it", examples=[f"/v1/jobs/{A_JOB}/unexpected"])]
    media_type: Annotated[str, Field(examples=["image/png"])]
    size_bytes: Annotated[int, Field(examples=[812_345])]
    width: Annotated[int | None, Field(description="Null if it is no picture", examples=[1200])]
    height: Annotated[int | None, Field(examples=[1600])]
    accepted: Annotated[bool, Field(description="Whether a person has made it the cutout")]


class JobView(BaseModel):
    """A job as its producer sees it."""

    id: Annotated[uuid.UUID, Field(examples=[A_JOB])]
    batch_id: Annotated[uuid.UUID | None, Field(examples=[A_BATCH])]
    external_id: Annotated[str | None, Field(examples=["SKU-4471"])]
    source_kind: Annotated[SourceKind, Field(description="How its picture was given", examples=["address"])]
    source_url: Annotated[
        str | None,
        Field(
            description="The address of its picture; null for an upload",
            examples=["https://shop.example/p/4471.jpg"],
        ),
    ]
    return_form: ReturnForm
    forms: Annotated[
        Forms,
        Field(
            description="`derived`: RGBA is bought, and the return form is made of it. For RGBA itself both"
            " are the same, and `derived` is shown"
        ),
    ]
    full_size: Annotated[bool, Field(description="Whether its outputs are as large as the source")]
    renditions: Annotated[
        list[str],
        Field(description="Renditions that were asked for with the job, besides those of its batch"),
    ]
    file_name: Annotated[str | None, Field(description="Template of their file names")]
    priority: Annotated[str, Field(examples=["normal"])]
    unique: Unique
    webhook_host: Annotated[
        str | None,
        Field(description="Host of its webhook, whose address may hold a secret", examples=["shop.example"]),
    ]
    metadata: Annotated[dict[str, str], Field(examples=[{"order": "A-1207"}])]
    state: Annotated[
        State, Field(description="succeeded, failed and cancelled are final", examples=["succeeded"])
    ]
    step: Annotated[Step, Field(description="`copy` once the call is paid", examples=["copy"])]
    tries: Annotated[int, Field(description="What went wrong in this step so far", examples=[0])]
    credits: Annotated[int, Field(description="Charged so far", examples=[1])]
    scheduled_at: Annotated[datetime, Field(description="It does not move before this", examples=[A_MOMENT])]
    created_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    finished_at: Annotated[
        datetime | None, Field(description="Set if and only if the state is final", examples=[A_MOMENT])
    ]
    cancelled_at: Annotated[
        datetime | None,
        Field(description="No call of it begins since then; a paid result is still copied", examples=[None]),
    ]
    error: ErrorView | None
    result: Annotated[
        ResultView | None, Field(description="Null before it is made, although the job may have succeeded")
    ]
    bought: BoughtView | None
    outputs: Annotated[
        list[OutputView], Field(description="Made after the job has succeeded, each with a state of its own")
    ]
    score: Annotated[ScoreView | None, Field(description="Null before the cutout is scored")]
    unexpected: UnexpectedView | None
    poll_after_seconds: PollAfter


class JobList(BaseModel):
    """A page of jobs. It may be short, or empty, though more follow: only `next_cursor` says so."""

    data: list[JobView]
    next_cursor: NextCursor


class OutputExplanationView(BaseModel):
    """Why an output is not made yet, or why it failed; `remedy` if something can be done."""

    name: str
    state: OutputState
    text: str
    remedy: str | None


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
    outputs: Annotated[
        list[OutputExplanationView], Field(description="Its outputs and score that are waiting or failed")
    ]


def view_job(job: JobSnapshot, poll_after_seconds: int | None = None) -> JobView:
    """The job as its producer may see it. Never the endpoint's URLs, nor the bucket's."""
    asked = RequestedOutputs(renditions=job.renditions or {})
    return JobView(
        id=job.id,
        batch_id=job.batch_id,
        external_id=job.external_id,
        source_kind=SourceKind.ADDRESS if is_on_the_web(job.source) else SourceKind.UPLOAD,
        source_url=job.source if is_on_the_web(job.source) else None,
        return_form=ReturnForm(job.return_form),
        forms=Forms.DERIVED if job.bought_form == ReturnForm.RGBA else Forms.BOUGHT,
        full_size=job.full_size,
        renditions=asked.texts,
        file_name=asked.file,
        priority=Priority(job.priority).name.lower(),
        unique=Unique.BATCH if job.natural_key is None else Unique.PRODUCER,
        webhook_host=host_of(job.webhook_url) if job.webhook_url else None,
        metadata=job.metadata or {},
        state=State(job.state),
        step=Step(job.step),
        tries=job.tries,
        credits=job.credits,
        scheduled_at=job.scheduled_at,
        created_at=job.created_at,
        finished_at=job.finished_at,
        cancelled_at=job.cancelled_at,
        error=_error(job.code, job.message),
        result=_view_result(job),
        bought=_view_bought(job),
        outputs=[_view_output(job, output) for output in job.outputs],
        score=ScoreView(**job.score) if job.score else None,
        unexpected=_view_unexpected(job),
        poll_after_seconds=poll_after_seconds,
    )


def _error(code: str | None, message: str | None) -> ErrorView | None:
    if not code:
        return None
    return ErrorView(code=code, message=text_for_producer(message) if message else None)


def _view_result(job: JobSnapshot) -> ResultView | None:
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
        "warning": job.warning,
    }
    return ResultView(**fields)


def _view_bought(job: JobSnapshot) -> BoughtView | None:
    if job.bought_key is None or job.bought_sha256 is None:
        return None
    fields: dict[str, Any] = {
        "form": job.bought_form,
        "key": job.bought_key,
        "url": f"/v1/jobs/{job.id}/bought",
        "media_type": job.bought_media_type,
        "sha256": job.bought_sha256.hex(),
        "size_bytes": job.bought_size_bytes,
        "width": job.bought_width,
        "height": job.bought_height,
    }
    return BoughtView(**fields)


def _view_output(job: JobSnapshot, output: JobOutput) -> OutputView:
    fields = output._asdict()
    code, message = fields.pop("code"), fields.pop("message")
    fields |= {
        "url": f"/v1/jobs/{job.id}/outputs/{output.name}" if output.key else None,
        "problems": output.problems or [],
        "note": text_for_producer(output.note) if output.note else None,
        "error": _error(code, message),
    }
    return OutputView(**fields)


def _view_unexpected(job: JobSnapshot) -> UnexpectedView | None:
    found = Unexpected.of(job.unexpected)
    if found is None:
        return None
    return UnexpectedView(
        reason=found.reason,
        url=f"/v1/jobs/{job.id}/unexpected",
        media_type=found.media_type,
        size_bytes=found.size_bytes,
        width=found.width,
        height=found.height,
        accepted=found.accepted,
    )
