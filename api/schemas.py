"""What goes over the wire. States and forms are the words of jobs.states, no others."""

import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any

from annotated_types import Len
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from jobs.batches import BatchStatus, IngestState, IngestStatus
from jobs.enqueueing import LONGEST_EXTERNAL_ID, LONGEST_SOURCE, NewJob
from jobs.ingest import Order, Reading
from jobs.listing import ListedBatch
from jobs.manifest import parse_columns
from jobs.manifest.columns import TARGETS, require_targets
from jobs.prices import DOLLARS_A_CREDIT
from jobs.seen import SeenJob
from jobs.states import PRIORITIES, ReturnForm, State, Step
from jobs.webhooks.addresses import LONGEST_URL

# For the schema, which knows no categories of characters.
PLAIN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
WEB_ADDRESS = (
    r"^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._-]+(:[0-9]{1,5})?"
    r"([/?#][^\u0000-\u0020\u007f-\u009f]*)?$"
)
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
WEBHOOK_ADDRESS = rf"^https://[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(:{PORT})?([/?][!\u0022$-~]*)?$"


def _web_address(value: str) -> str:
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(
            "must begin with https://; to send a picture itself, upload it as multipart field `image`"
        )
    return value


def _source_address(value: str) -> str:
    if not re.fullmatch(WEB_ADDRESS[1:-1], _web_address(value)):
        raise ValueError(
            "is no address of the web: write https://host/path, the host a name in ASCII, without user or"
            " password, blanks percent-encoded"
        )
    return value


def _plain(value: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("has control characters; remove them")
    return value


def _manifest_address(value: str | None) -> str | None:
    if value is not None:
        NewJob(_web_address(value))
    return value


def _whole(value: object) -> object:
    # JSON has one kind of number: 5.0 is as whole as 5.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known_priority(value: str) -> str:
    if value not in PRIORITIES:
        raise ValueError(f"{value!r} is not one of {', '.join(PRIORITIES)}")
    return value


# What the examples are of.
A_JOB = "01a20519-4707-757a-9c1e-0f6f3a4c2b11"
A_BATCH = "01a20515-06db-7dfe-a584-1fdef9ab3e38"
A_MOMENT = "2026-11-22T09:14:03.482000Z"

NextCursor = Annotated[
    str | None,
    Field(
        description="`cursor` of the next page; null on the last", examples=["AaIFGUcHdXqcHg9vOkwrEXBhZ2U"]
    ),
]
# Text that Postgres, logs and headers can hold.
PlainText = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"pattern": PLAIN})]
ExternalId = Annotated[PlainText, Field(min_length=1, max_length=LONGEST_EXTERNAL_ID, examples=["SKU-4471"])]
Code = Annotated[PlainText, Field(min_length=1, max_length=100)]
PriorityName = Annotated[
    str, AfterValidator(_known_priority), Field(json_schema_extra={"enum": list(PRIORITIES)})
]
SourceUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_SOURCE,
        examples=["https://shop.example/p/4471.jpg"],
        json_schema_extra={"pattern": WEB_ADDRESS},
    ),
    AfterValidator(_source_address),
]


ColumnMap = Annotated[
    dict[PlainText, PlainText],
    Field(
        description="Which column of the manifest is which",
        json_schema_extra={"propertyNames": {"enum": list(TARGETS)}},
        examples=[{"external_id": "SKU", "source": "Image URL"}],
    ),
]
WHOLE = BeforeValidator(_whole)
Credits = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]
WebhookUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        description="Is told, signed, when it has ended; see GET /v1/webhooks/deliveries",
        examples=["https://shop.example/hooks/cutout"],
        # In full it is in jobs/webhooks/addresses.py: an address in brackets may do, and http to known hosts.
        json_schema_extra={"pattern": WEBHOOK_ADDRESS},
    ),
]


class JobOptions(BaseModel):
    """What can be said of a job beside its picture."""

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


class BatchJobRequest(BaseModel):
    """A job of a batch. Without a return form it has the batch's."""

    model_config = ConfigDict(extra="forbid")

    external_id: ExternalId
    source_url: SourceUrl
    return_form: ReturnForm | None = None


def _distinct(value: object) -> object:
    """One form or several; a repeated one counts once."""
    if not isinstance(value, list):
        return [value]
    return [form for n, form in enumerate(value) if form not in value[:n]]


ReturnForms = Annotated[
    # Strict JSON has no enumerations, and what was made a list is no JSON any more.
    list[Annotated[ReturnForm, Strict(False)]],
    BeforeValidator(_distinct, json_schema_input_type=ReturnForm | Annotated[list[ReturnForm], Len(1)]),
    Field(min_length=1, description="What to get of each picture: one form or a list of them"),
]


class BatchOptions(BaseModel):
    """What can be said of a batch beside its pictures."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[PlainText, Field(min_length=1, max_length=200, examples=["spring catalog"])]
    return_form: ReturnForms = [ReturnForm.RGBA]
    priority: PriorityName = "normal"
    weight: Annotated[
        float, Field(ge=0.001, le=1000, description="Its share of the endpoint beside other batches")
    ] = 1.0
    budget: Annotated[Credits | None, Field(description="Credits it may cost; jobs over it are held")] = None
    reuse: Annotated[bool, Field(description="Take cutouts that were bought before")] = True
    plan: Annotated[bool, Field(description="Hold all jobs until the batch is approved")] = False
    strict: Annotated[bool, Field(description="Of a manifest: stop at the first row that is rejected")] = (
        False
    )
    encoding: Annotated[
        PlainText | None,
        Field(max_length=40, description="Of a manifest, if it is not UTF-8: latin-1, cp1252 …"),
    ] = None

    def to_order(self, columns: Mapping[str, str], producer_id: uuid.UUID) -> Order:
        return Order(
            self.name,
            forms=tuple(self.return_form),
            priority=PRIORITIES[self.priority],
            weight=self.weight,
            budget=self.budget,
            reuse=self.reuse,
            plan=self.plan,
            strict=self.strict,
            reading=Reading(columns, self.encoding, foreign=True),
            producer_id=producer_id,
        )


class ManifestQuery(BatchOptions):
    """What the query says of a manifest that is the body."""

    map: Annotated[
        PlainText | None,
        Field(
            max_length=2000,
            description='Which column is which, e.g. external_id=SKU,source="Image URL"',
            examples=['external_id=SKU,source="Image URL"'],
        ),
    ] = None

    def columns(self) -> dict[str, str]:
        """Raises ValueError."""
        return parse_columns(self.map) if self.map else {}


class BatchRequest(BatchOptions):
    """Jobs to be enqueued together, all or none, or a manifest to be fetched from an address.

    More can be added one by one with their `batch_id`.
    """

    webhook_url: WebhookUrl | None = None
    jobs: list[BatchJobRequest] = []
    manifest_url: Annotated[
        Annotated[str, Field(max_length=LONGEST_SOURCE, json_schema_extra={"pattern": WEB_ADDRESS})] | None,
        Field(examples=["https://shop.example/export.csv"]),
        AfterValidator(_manifest_address),
    ] = None
    map: ColumnMap = {}

    def to_order(self, columns: Mapping[str, str], producer_id: uuid.UUID) -> Order:
        # Not an option of a query: a webhook's address may hold a token.
        return replace(super().to_order(columns, producer_id), webhook_url=self.webhook_url)

    def columns(self) -> dict[str, str]:
        """Raises ValueError."""
        require_targets(self.map)
        return self.map

    def to_new_jobs(self) -> list[NewJob]:
        return [
            NewJob(
                source=job.source_url,
                external_id=job.external_id,
                return_form=form,
                priority=PRIORITIES[self.priority],
            )
            for job in self.jobs
            for form in ([job.return_form] if job.return_form else self.return_form)
        ]


class PlanView(BaseModel):
    """What a batch will cost: `calls` cost a credit each, if the batch is approved."""

    already_bought: int
    same_picture: int
    calls: int
    dollars: float


class IngestView(BaseModel):
    """How far the reading of a batch's manifest is: pictures = jobs + rejects + duplicates.

    `error` says why it ended before all was read. `plan` is there once all is read, if approval is needed.
    """

    state: IngestState
    kind: str
    records: int
    pictures: int
    jobs: int
    rejects: int
    duplicates: int
    rejects_url: str | None
    error: str | None
    plan: PlanView | None


class ErrorView(BaseModel):
    """Why a job failed, is held, or rests. Codes are listed in docs/job_states.md; they are stable."""

    code: Annotated[str, Field(examples=["IMAGE_NOT_A_PICTURE"])]
    message: Annotated[str | None, Field(examples=["the file starts with b'GIF8', which no picture does"])]


class ResultView(BaseModel):
    """The cutout: where it is in the bucket and what it is (bytes, pixels)."""

    key: Annotated[str, Field(examples=["cutouts/01a20515-06db-7dfe-a584-1fdef9ab3e38/SKU-4471.png"])]
    url: Annotated[str, Field(description="Redirects to the cutout", examples=[f"/v1/jobs/{A_JOB}/result"])]
    media_type: Annotated[str, Field(examples=["image/png"])]
    sha256: Annotated[
        str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    ]
    size_bytes: Annotated[int, Field(examples=[812_345])]
    width: Annotated[int, Field(examples=[1200])]
    height: Annotated[int, Field(examples=[1600])]


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
    error: ErrorView | None
    result: ResultView | None


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


class BatchSummary(BaseModel):
    """A batch without its counts."""

    id: Annotated[uuid.UUID, Field(examples=[A_BATCH])]
    name: Annotated[str, Field(examples=["spring catalog"])]
    created_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    paused_at: Annotated[datetime | None, Field(description="No call of it goes out since then")]
    budget: Annotated[int | None, Field(description="Credits that it may cost")]
    results_url: Annotated[
        str, Field(description="What became of each job", examples=[f"/v1/batches/{A_BATCH}/results"])
    ]
    results_key: Annotated[
        str | None,
        Field(
            description="The same as CSV in the bucket, soon after the batch is finished",
            examples=[f"results/{A_BATCH}.csv"],
        ),
    ]


class BatchView(BatchSummary):
    """A batch with its jobs counted by state, at most a second ago; exact once it is finished."""

    finished_at: Annotated[datetime | None, Field(description="When the last job of it ended; null before")]
    total: Annotated[int, Field(description="The sum of the counts", examples=[12_391])]
    counts: Annotated[
        dict[State, int],
        Field(
            examples=[
                {"queued": 2475, "running": 5, "held": 0, "succeeded": 9909, "failed": 2, "cancelled": 0}
            ]
        ),
    ]
    credits: Annotated[
        int, Field(description="Charged so far; may lag while it is large and under way", examples=[41])
    ]
    eta_seconds: Annotated[
        int | None, Field(description="A guess; null while nothing moves or nothing is known", examples=[176])
    ]
    ingest: IngestView | None


class BatchList(BaseModel):
    """A page of batches."""

    data: list[BatchSummary]
    next_cursor: NextCursor


def view_job(job: SeenJob) -> JobView:
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
        error=ErrorView(code=job.code, message=job.message) if job.code else None,
        result=_view_result(job),
    )


def view_batch(batch: BatchStatus, credits_: int = 0, eta_seconds: int | None = None) -> BatchView:
    """The batch with its counts; `credits_` is what it cost."""
    return BatchView(
        id=batch.id,
        name=batch.name,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        paused_at=batch.paused_at,
        budget=batch.budget,
        total=batch.total,
        counts=batch.counts,
        credits=credits_,
        eta_seconds=eta_seconds,
        ingest=_view_ingest(batch.id, batch.ingest) if batch.ingest else None,
        results_url=_results_url(batch.id),
        results_key=batch.results_key,
    )


def summarize(batch: ListedBatch) -> BatchSummary:
    """The batch without counts."""
    return BatchSummary(
        id=batch.id,
        name=batch.name,
        created_at=batch.created_at,
        paused_at=batch.paused_at,
        budget=batch.budget,
        results_url=_results_url(batch.id),
        results_key=batch.results_key,
    )


def _results_url(batch_id: uuid.UUID) -> str:
    return f"/v1/batches/{batch_id}/results"


def _view_ingest(batch_id: uuid.UUID, ingest: IngestStatus) -> IngestView:
    plan = ingest.plan
    return IngestView(
        state=ingest.state,
        kind=ingest.kind,
        **asdict(ingest.counts),
        rejects_url=f"/v1/batches/{batch_id}/rejects" if ingest.rejects_key else None,
        error=ingest.error,
        plan=PlanView(**plan, dollars=round(plan["calls"] * DOLLARS_A_CREDIT, 3)) if plan else None,
    )


def _view_result(job: SeenJob) -> ResultView | None:
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
