"""Batches: enqueue jobs together, and count them."""

import uuid
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.access import AtHand, ProducerId, Transaction
from api.problems import ProblemError
from api.routes.jobs import require_own_batch
from api.schemas import BatchRequest, BatchView, view_batch
from jobs.batches import batch_status
from jobs.enqueue import create_batch, enqueue_all
from jobs.results_manifest import (
    CutoutLinks,
    Format,
    Selection,
    open_results,
    write_results,
)
from jobs.results_manifest.formats import MEDIA_TYPES
from jobs.states import State

router = APIRouter(prefix="/v1/batches", tags=["batches"])


@router.post("", status_code=HTTPStatus.CREATED)
def create(
    asked: BatchRequest, session: Transaction, at_hand: AtHand, producer_id: ProducerId, response: Response
) -> BatchView:
    """Enqueue a list of jobs, all or none; an empty list makes a batch to be filled by POST /v1/jobs."""
    most = at_hand.settings.max_batch_jobs
    if len(asked.jobs) > most:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "too-many-jobs",
            f"the list has {len(asked.jobs)} jobs, at most {most} are taken; split it",
            field="jobs",
        )
    batch = create_batch(
        session, asked.name, producer_id=producer_id, weight=asked.weight, budget=asked.budget
    )
    enqueue_all(session, asked.to_new_jobs(), batch_id=batch.id)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    status = batch_status(session, batch.id)
    if status is None:
        raise LookupError(f"batch {batch.id} vanished in its own transaction")
    return view_batch(status)


@router.get("/{batch_id}")
def get(batch_id: uuid.UUID, session: Transaction, producer_id: ProducerId) -> BatchView:
    """A batch with its jobs counted by state."""
    require_own_batch(session, batch_id, producer_id)
    status = batch_status(session, batch_id)
    if status is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "unknown-batch", f"you have no batch {batch_id}", field="batch_id"
        )
    return view_batch(status)


@router.get("/{batch_id}/results", response_class=StreamingResponse)
def get_results(
    batch_id: uuid.UUID,
    at_hand: AtHand,
    producer_id: ProducerId,
    form: Annotated[Format, Query(alias="format", description="CSV, or a JSON object a line")] = Format.CSV,
    state: Annotated[list[State] | None, Query(description="Only jobs in these states")] = None,
    *,
    links: Annotated[bool, Query(description="Add links to the cutouts, good for a day")] = False,
) -> StreamingResponse:
    """What became of each job of a batch, in the order enqueued, as far as it is now."""
    # Its transaction ends here: one of the dependency's would last as long as the client reads.
    with Session(at_hand.engine) as session:
        require_own_batch(session, batch_id, producer_id)
    maker = CutoutLinks(at_hand.bucket) if links else None
    return StreamingResponse(
        _stream(at_hand.engine, Selection(batch_id, tuple(state or ())), form, maker),
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="results-{batch_id}.{form}"',
            "Cache-Control": "no-store",
        },
    )


def _stream(engine: Engine, wanted: Selection, form: Format, links: CutoutLinks | None) -> Iterator[bytes]:
    with open_results(engine, wanted) as results:
        yield from write_results(results, form, links)
