"""Jobs as their producer sees them."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.examples import A_BATCH, A_JOB, A_MOMENT
from api.schemas.fields import NextCursor
from cutout.enums import ReturnForm, State, Step
from cutout.status.job_view import JobSnapshot
from cutout.status.producer_texts import text_for_producer
from cutout.storage.unexpected_bytes import Unexpected


class ErrorView(BaseModel):
    """Why a job failed, is held, or rests. Codes are listed in docs/reference/codes.md; they are stable."""

    code: Annotated[str, Field(examples=["IMAGE_NOT_A_PICTURE"])]
    message: Annotated[str | None, Field(examples=["the file starts with b'GIF8', which no picture does"])]


class ResultView(BaseModel):
    """The cutout: its key in the bucket, its size in bytes and in pixels."""

    key: Annotated[str, Field(examples=["cutouts/01a20515-06db-7dfe-a584-1fdef9ab3e38/SKU-4471.png"])]
    url: Annotated[str, Field(description="Redirects to the cutout", examples=[f"/v1/jobs/{A_JOB}/result"])]
    media_type: Annotated[str, Field(examples=["image/png"])]
    sha256: Annotated[
        str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    ]
    size_bytes: Annotated[int, Field(examples=[812_345])]
    width: Annotated[int, Field(examples=[1200])]
    height: Annotated[int, Field(examples=[1600])]
    warning: Annotated[
        str | None,
        Field(
            description="In what it differs from what was ordered",
            examples=["600x800 pixels for the 1200x1600 sent"],
        ),
    ]


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
    return_form: ReturnForm
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
    result: ResultView | None
    unexpected: UnexpectedView | None


class JobList(BaseModel):
    """A page of jobs. It may be short, or empty, though more follow: only `next_cursor` says so."""

    data: list[JobView]
    next_cursor: NextCursor


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


def view_job(job: JobSnapshot) -> JobView:
    """The job as its producer may see it. Never the endpoint's URLs."""
    return JobView(
        id=job.id,
        batch_id=job.batch_id,
        external_id=job.external_id,
        return_form=ReturnForm(job.return_form),
        state=State(job.state),
        step=Step(job.step),
        tries=job.tries,
        credits=job.credits,
        scheduled_at=job.scheduled_at,
        created_at=job.created_at,
        finished_at=job.finished_at,
        cancelled_at=job.cancelled_at,
        error=_view_error(job),
        result=_view_result(job),
        unexpected=_view_unexpected(job),
    )


def _view_error(job: JobSnapshot) -> ErrorView | None:
    if not job.code:
        return None
    return ErrorView(code=job.code, message=text_for_producer(job.message) if job.message else None)


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
