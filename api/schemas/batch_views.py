"""Batches as their producer sees them."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.action_views import ActionView, view_action
from api.schemas.examples import A_BATCH, A_MOMENT
from api.schemas.fields import NextCursor, PollAfter
from api.schemas.ingest_views import IngestView, view_ingest
from cutout.enums import BatchState, Forms, JobMessages, ReturnForm, State
from cutout.network.shown_urls import host_of
from cutout.outputs.options import RequestedOutputs
from cutout.status.batch_status import BatchStatus
from cutout.status.pages import ListedBatch

# Options kept with the batch, and what is shown of a batch without them.
NOT_KNOWN: dict[str, Any] = {
    "return_form": None,
    "priority": None,
    "plan": None,
    "strict": None,
    "forms": None,
    "full_size": None,
    "manifest_url": None,
    "map": {},
    "encoding": None,
    "delimiter": None,
    "many": None,
    "include": [],
    "exclude": [],
}


class BatchSummary(BaseModel):
    """A batch without its counts."""

    id: Annotated[uuid.UUID, Field(examples=[A_BATCH])]
    name: Annotated[str, Field(examples=["spring catalog"])]
    created_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    paused_at: Annotated[datetime | None, Field(description="No call of it goes out since then")]
    paused_by_operator_at: Annotated[
        datetime | None, Field(description="No call of it goes out since then, and only an operator lifts it")
    ]
    opens_at: Annotated[datetime | None, Field(description="No call of it goes out before")]
    closes_at: Annotated[
        datetime | None, Field(description="No call of it goes out from then until its next window")
    ]
    cancelled_at: Annotated[
        datetime | None, Field(description="No call of it begins since then; paid results are still copied")
    ]
    budget: Annotated[int | None, Field(description="Credits that it may cost")]
    weight: Annotated[float, Field(description="Its share beside your other batches", examples=[1.0])]
    reuse: Annotated[bool, Field(description="Whether cutouts that were bought before are taken")]
    return_form: Annotated[
        list[ReturnForm] | None,
        Field(description="Null, as others below, for a batch made neither over HTTP nor of a manifest"),
    ]
    priority: Annotated[str | None, Field(examples=["normal"])]
    plan: Annotated[bool | None, Field(description="Whether its jobs wait, or waited, for an approval")]
    strict: bool | None
    forms: Forms | None
    full_size: bool | None
    renditions: Annotated[list[str], Field(description="Renditions that are made of each cutout")]
    file_name: Annotated[str | None, Field(description="Template of the renditions' file names")]
    manifest_url: Annotated[
        str | None,
        Field(
            description="Address of its manifest without user, query and fragment, which may hold a secret",
            examples=["https://shop.example/export.csv"],
        ),
    ]
    map: dict[str, str]
    encoding: str | None
    delimiter: str | None
    many: bool | None
    include: list[str]
    exclude: list[str]
    webhook_host: Annotated[
        str | None,
        Field(description="Host of its webhook, whose address may hold a secret", examples=["shop.example"]),
    ]
    webhook_jobs: JobMessages
    metadata: Annotated[dict[str, str], Field(examples=[{"order": "A-1207"}])]
    state: Annotated[
        BatchState,
        Field(
            description="active until its last job has ended, then finished; or cancelling, then cancelled;"
            " deleting until it is not found any more",
            examples=["active"],
        ),
    ]
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


class OutputCountsView(BaseModel):
    """Outputs by state."""

    waiting: int = 0
    made: int = 0
    failed: int = 0


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
    outputs: Annotated[
        OutputCountsView, Field(description="Files made of what was bought, after the jobs have succeeded")
    ]
    scores: Annotated[OutputCountsView, Field(description="Scores of cutouts")]
    credits: Annotated[
        int, Field(description="Charged so far; may lag while it is large and under way", examples=[41])
    ]
    eta_seconds: Annotated[
        int | None, Field(description="A guess; null while nothing moves or nothing is known", examples=[176])
    ]
    outputs_eta_seconds: Annotated[
        int | None,
        Field(
            description="Estimate for waiting outputs; null if there is none, and while no renderer runs",
            examples=[42],
        ),
    ]
    actions: Annotated[
        list[ActionView],
        Field(
            description="Changes of the whole batch that are not finished, and the last finished ones; the"
            " latest request first"
        ),
    ]
    ingest: IngestView | None
    poll_after_seconds: PollAfter


class BatchList(BaseModel):
    """A page of batches."""

    data: list[BatchSummary]
    next_cursor: NextCursor


def view_batch(
    batch: BatchStatus,
    credits_: int = 0,
    eta_seconds: int | None = None,
    outputs_eta_seconds: int | None = None,
    poll_after_seconds: int | None = None,
) -> BatchView:
    """The batch with its counts; `credits_` is its cost."""
    return BatchView(
        **_summary(batch),
        finished_at=batch.finished_at,
        total=batch.total,
        counts=batch.counts,
        outputs=OutputCountsView(**batch.outputs._asdict()),
        scores=OutputCountsView(**batch.scores._asdict()),
        credits=credits_,
        eta_seconds=eta_seconds,
        outputs_eta_seconds=outputs_eta_seconds,
        actions=[view_action(action) for action in batch.actions],
        ingest=view_ingest(batch.id, batch.ingest) if batch.ingest else None,
        poll_after_seconds=poll_after_seconds,
    )


def summarize(batch: ListedBatch) -> BatchSummary:
    """The batch without counts."""
    return BatchSummary(
        **_summary(batch),
    )


def _summary(batch: BatchStatus | ListedBatch) -> dict[str, Any]:
    options, outputs = batch.options or {}, RequestedOutputs(renditions=batch.renditions or {})
    return {
        "id": batch.id,
        "name": batch.name,
        "created_at": batch.created_at,
        "paused_at": batch.paused_at,
        "paused_by_operator_at": batch.paused_by_operator_at,
        "opens_at": batch.opens_at,
        "closes_at": batch.closes_at,
        "cancelled_at": batch.cancelled_at,
        "budget": batch.budget,
        # Postgres keeps six digits of it.
        "weight": float(f"{batch.weight:.6g}"),
        "reuse": batch.reuse,
        "renditions": outputs.texts,
        "file_name": outputs.file,
        "webhook_host": host_of(batch.webhook_url) if batch.webhook_url else None,
        "webhook_jobs": batch.webhook_jobs,
        "metadata": batch.metadata or {},
        "state": batch.state,
        **{name: options.get(name, default) for name, default in NOT_KNOWN.items()},
        "results_url": f"/v1/batches/{batch.id}/results",
        "results_key": batch.results_key,
    }
