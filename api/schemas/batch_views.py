"""Batches as their producer sees them."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.examples import A_BATCH, A_MOMENT
from api.schemas.fields import NextCursor
from api.schemas.ingest_views import IngestView, view_ingest
from cutout.enums import State
from cutout.status.batch_status import BatchState, BatchStatus
from cutout.status.pages import ListedBatch


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

    state: Annotated[
        BatchState,
        Field(
            description="active until its last job has ended, then finished; or cancelling, then cancelled",
            examples=["active"],
        ),
    ]
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


def view_batch(batch: BatchStatus, credits_: int = 0, eta_seconds: int | None = None) -> BatchView:
    """The batch with its counts; `credits_` is its cost."""
    return BatchView(
        **_summary(batch),
        state=batch.state,
        finished_at=batch.finished_at,
        total=batch.total,
        counts=batch.counts,
        credits=credits_,
        eta_seconds=eta_seconds,
        ingest=view_ingest(batch.id, batch.ingest) if batch.ingest else None,
    )


def summarize(batch: ListedBatch) -> BatchSummary:
    """The batch without counts."""
    return BatchSummary(
        **_summary(batch),
    )


def _summary(batch: BatchStatus | ListedBatch) -> dict[str, Any]:
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
        "results_url": f"/v1/batches/{batch.id}/results",
        "results_key": batch.results_key,
    }
