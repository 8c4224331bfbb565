"""Actions on a batch, carried out in the background: cancel, retry, outputs, delete; pause and resume."""

import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, NamedTuple

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.authentication import asked_by
from api.dependencies import ProducerId, ServicesDep
from api.etag import require_match
from api.idempotency import begin_effect, keep
from api.live.batch_cache import CountedBatch
from api.media_types import JSON
from api.openapi import changes_what_was_seen
from api.router import v1_router
from api.routes.batch_status import etag_of_batch, own_batch
from api.routes.jobs import unknown_batch
from api.schemas import BatchView
from api.schemas.output_requests import RenditionsRequest
from api.services import Services
from cutout.actions import Asked
from cutout.actions import batches as actions
from cutout.queue.batch_changes import find_revision
from cutout.status.batch_status import find_pauses, with_actions

router = v1_router("/v1/batches/{batch_id}", "batches")

ACCEPTED = HTTPStatus.ACCEPTED
NOT_NOW = changes_what_was_seen("wrong-state")

Change = Callable[[Session, Asked, uuid.UUID], object]


@router.post("/cancel", status_code=ACCEPTED, response_model=BatchView, openapi_extra=NOT_NOW)
async def cancel(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Cancel all jobs. Nothing more is bought; paid results are still copied, and their jobs succeed.

    No call of it begins from the answer on. Its jobs are withdrawn in the background: it is `cancelling`
    until the last of them has ended. A second request while one is under way changes nothing.
    """
    return await _request(request, services, batch_id, producer_id, actions.cancel_batch)


@router.post("/retry", status_code=ACCEPTED, response_model=BatchView, openapi_extra=NOT_NOW)
async def retry(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Put all jobs that failed or are held back in the queue; called again they cost again.

    It is carried out in the background. Those that failed count against the quota again: where it ends, the
    others are left as they are, and the action says so. Not while the batch is being cancelled.
    """
    return await _request(request, services, batch_id, producer_id, actions.retry_batch)


@router.post("/pause", response_model=BatchView, openapi_extra=changes_what_was_seen())
async def pause(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Let no further call of it go out. What is out is finished and copied."""
    return await _act(request, services, batch_id, producer_id, actions.pause_batch)


@router.post("/resume", response_model=BatchView, openapi_extra=changes_what_was_seen("paused-by-operator"))
async def resume(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Let its calls go out again. What an operator paused, an operator lets go on."""
    return await _act(request, services, batch_id, producer_id, actions.resume_batch)


@router.post(
    "/outputs",
    status_code=ACCEPTED,
    response_model=BatchView,
    openapi_extra=changes_what_was_seen("invalid-job", "wrong-state"),
)
async def add_outputs(
    batch_id: uuid.UUID,
    wanted: RenditionsRequest,
    request: Request,
    services: ServicesDep,
    producer_id: ProducerId,
) -> Response:
    """Make renditions of the pictures that the batch has bought, and will buy. It costs no credit.

    Jobs that have succeeded get them in the background, the others when they do.
    """
    renditions = wanted.renditions()

    def ask(session: Session, asked: Asked, batch_id: uuid.UUID) -> None:
        actions.add_outputs(session, asked, batch_id, renditions)

    return await _request(request, services, batch_id, producer_id, ask)


@router.post("/retry-outputs", status_code=ACCEPTED, response_model=BatchView, openapi_extra=NOT_NOW)
async def retry_outputs(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Make the outputs of the batch that failed again, with all their tries. It costs no credit."""
    return await _request(request, services, batch_id, producer_id, actions.retry_outputs)


@router.delete("", status_code=ACCEPTED, response_model=BatchView, openapi_extra=NOT_NOW)
async def delete(
    batch_id: uuid.UUID,
    request: Request,
    services: ServicesDep,
    producer_id: ProducerId,
    *,
    objects: Annotated[
        bool,
        Query(
            description="Also the cutouts, outputs and uploaded sources of its jobs in the bucket, unless"
            " another job of yours has them"
        ),
    ] = False,
) -> Response:
    """Delete a batch whose jobs have all ended, with its jobs, manifest, results and messages.

    It is carried out in the background: the batch is `deleting`, then not found. What it cost stays in the
    ledger; a run of a schedule keeps its counts, and its schedule what it has seen.
    """

    def ask(session: Session, asked: Asked, batch_id: uuid.UUID) -> None:
        actions.delete_batch(session, asked, batch_id, objects=objects)

    return await _request(request, services, batch_id, producer_id, ask)


async def _request(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, ask: Change
) -> Response:
    """Request an action; the answer is the batch with it, before any job is changed."""
    change = _BatchChange(ask, _with_actions, ACCEPTED)
    answer = await _make(request, services, batch_id, producer_id, change)
    # A deletion may be through by now.
    await services.counting.of(batch_id, producer_id, since=time.monotonic())
    return answer


async def _act(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, change: Change
) -> Response:
    """Pause or resume; the answer is the batch as it is then."""
    change_of = _BatchChange(change, _with_pauses, HTTPStatus.OK)
    answer = await _make(request, services, batch_id, producer_id, change_of)
    await own_batch(services, batch_id, producer_id, since=time.monotonic())
    return answer


class _BatchChange(NamedTuple):
    """A change, what of a counted batch is read anew after it, and the status of the answer."""

    apply: Change
    refreshed: Callable[[Session, CountedBatch], CountedBatch]
    status: HTTPStatus


def _with_actions(session: Session, before: CountedBatch) -> CountedBatch:
    return before.with_actions(with_actions(session, before.status))


def _with_pauses(session: Session, before: CountedBatch) -> CountedBatch:
    return before.with_pauses(find_pauses(session, before.status.id))


async def _make(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, change: _BatchChange
) -> Response:
    """Make the change. What is remembered of the batch is older than it: the caller reads the batch anew."""
    before = await services.counting.of(batch_id, producer_id)
    return await services.threads.run(
        producer_id, _make_own, request, services, batch_id, producer_id, (change, before)
    )


def _make_own(
    request: Request,
    services: Services,
    batch_id: uuid.UUID,
    producer_id: uuid.UUID,
    how: tuple[_BatchChange, CountedBatch | None],
) -> Response:
    """The change and its answer in one transaction, on the one connection that the request has a turn at."""
    with begin_effect(request, services.engine) as session:
        change, before = how
        revision = find_revision(session, batch_id, producer_id)
        if revision is None or before is None:
            raise unknown_batch(batch_id)
        require_match(request, revision=revision)
        change.apply(session, asked_by(request), batch_id)
        after = change.refreshed(session, before)
        if after.status.revision > revision + 1:
            # The row is locked only by the change, after those of its actions: another change was first.
            require_match(request, revision=after.status.revision - 1)
        answer = Response(
            after.view().model_dump_json(),
            status_code=change.status,
            media_type=JSON,
            headers={"ETag": etag_of_batch(after)},
        )
        keep(request, answer)
        return answer
