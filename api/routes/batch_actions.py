"""Actions on a batch: cancel, retry, pause, resume."""

import time
import uuid
from collections.abc import Callable
from functools import partial

from anyio import from_thread
from fastapi import Request, Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.dependencies import ProducerId, ServicesDep
from api.idempotency import begin_effect, keep
from api.live.batch_cache import CountedBatch
from api.openapi import problems
from api.router import JSON, v1_router
from api.routes.batch_status import own_batch
from api.routes.jobs import require_own_batch, unknown_batch
from api.schemas import BatchView
from api.services import Services
from cutout.queue.blocks import pauses
from cutout.queue.bulk import cancel_batch, retry_batch
from cutout.status.batch_status import find_pauses

router = v1_router("/v1/batches/{batch_id}", "batches")

Action = Callable[[Engine, uuid.UUID], object]
Change = Callable[[Session, uuid.UUID], object]


@router.post("/cancel", response_model=BatchView)
async def cancel(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Cancel all jobs. Nothing more is bought; paid results are still copied, and their jobs succeed.

    It is `cancelling` until the last of these has ended. The answer comes when all others are withdrawn: a
    million take about a minute. Whoever has no answer may ask again.
    """
    return await _move(request, services, batch_id, producer_id, cancel_batch)


@router.post("/retry", response_model=BatchView, openapi_extra=problems("quota-reached"))
async def retry(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Put all jobs that failed or are held back in the queue; called again they cost again.

    Those that failed count against the quota again. Where it ends, the others are left as they are.
    """
    retry_own = partial(retry_batch, producer_id=producer_id)
    return await _move(request, services, batch_id, producer_id, retry_own)


@router.post("/pause", response_model=BatchView)
async def pause(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Let no further call of it go out. What is out is finished and copied."""
    return await _act(request, services, batch_id, producer_id, pauses.pause)


@router.post("/resume", response_model=BatchView, openapi_extra=problems("paused-by-operator"))
async def resume(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Let its calls go out again. What an operator paused, an operator lets go on."""
    return await _act(request, services, batch_id, producer_id, pauses.resume)


async def _act(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, change: Change
) -> Response:
    before = await services.counting.of(batch_id, producer_id)
    answer = await services.threads.run(
        producer_id, _change_own, request, services, batch_id, producer_id, (change, before)
    )
    # What is remembered of the batch is older than the change.
    await own_batch(services, batch_id, producer_id, since=time.monotonic())
    return answer


def _change_own(
    request: Request,
    services: Services,
    batch_id: uuid.UUID,
    producer_id: uuid.UUID,
    how: tuple[Change, CountedBatch | None],
) -> Response:
    """The change and its answer in one transaction, on the one connection that the request has a turn at."""
    with begin_effect(request, services.engine) as session:
        change, before = how
        require_own_batch(session, batch_id, producer_id)
        if before is None:
            raise unknown_batch(batch_id)
        change(session, batch_id)
        after = before.with_pauses(find_pauses(session, batch_id))
        answer = Response(after.view().model_dump_json(), media_type=JSON)
        keep(request, answer)
        return answer


async def _move(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, action: Action
) -> Response:
    """Run an action that may take a minute."""
    with services.moves.held(producer_id):
        return await services.move_threads.run(
            None, _move_own, request, services, batch_id, producer_id, action
        )


def _move_own(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, action: Action
) -> Response:
    # The action has transactions of its own, a portion each. Another one holds the idempotency key meanwhile:
    # on a connection kept for it, so that no request waits for a second one of the shared connections.
    with begin_effect(request, services.move_keys) as session:
        require_own_batch(session, batch_id, producer_id)
        action(services.engine, batch_id)
        counted = from_thread.run(partial(own_batch, services, batch_id, producer_id, since=time.monotonic()))
        answer = Response(counted.view().model_dump_json(), media_type=JSON)
        keep(request, answer)
        return answer
