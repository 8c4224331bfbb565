"""Changes of a batch that exists."""

import time
import uuid
from functools import partial

from fastapi import Request, Response

from api.authentication import asked_by, ceilings_of, require
from api.bodies.strict_json import read_model
from api.dependencies import ProducerId, ServicesDep
from api.etag import require_match
from api.idempotency import begin_effect
from api.media_types import JSON, require_kind
from api.openapi import MERGE_PATCH, changes_what_was_seen, merge_patch_of
from api.router import v1_router
from api.routes.batch_status import etag_of_batch, own_batch
from api.routes.jobs import unknown_batch
from api.schemas import BatchPatch, BatchView
from api.schemas.patches import merged
from api.services import Services
from cutout.actions import batches as actions
from cutout.enums import Scope
from cutout.queue.batch_changes import BatchChange, Changeable, lock_batch
from cutout.queue.enqueue import check_metadata

router = v1_router("/v1/batches", "batches")


@router.patch(
    "/{batch_id}",
    response_model=BatchView,
    openapi_extra=merge_patch_of(BatchPatch)
    | changes_what_was_seen("invalid-job", "above-ceiling", "weight-just-changed"),
)
async def change(
    batch_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId
) -> Response:
    """Change a batch's name, weight, budget or metadata: what is left out stays, null clears.

    Raising or lifting a budget needs the scope `admin`; jobs that are held for want of budget go on within
    it. A weight holds for the jobs that wait as well, unless more than 20,000 do: then for those enqueued
    from now on. Once it has moved jobs, another is refused for a minute. A pause stays.
    """
    require_kind(request, MERGE_PATCH, JSON)
    asked = await read_model(request, BatchPatch)
    await services.threads.run(producer_id, partial(_change, request, services, batch_id, producer_id, asked))
    # What is remembered of the batch is older than the change.
    counted = await own_batch(services, batch_id, producer_id, since=time.monotonic())
    headers = {"ETag": etag_of_batch(counted)}
    return Response(counted.view().model_dump_json(), media_type=JSON, headers=headers)


def _change(
    request: Request, services: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, asked: BatchPatch
) -> None:
    with begin_effect(request, services.engine) as session:
        before = lock_batch(session, batch_id, producer_id)
        if before is None:
            raise unknown_batch(batch_id)
        require_match(request, revision=before.revision)
        if wanted := _wanted(request, asked, before):
            actions.change_batch(session, asked_by(request), batch_id, before, wanted)


def _wanted(request: Request, asked: BatchPatch, before: Changeable) -> BatchChange:
    """The new values of the given members; raises problems for values that the producer may not have."""
    given = asked.model_fields_set
    change: BatchChange = {}
    if "name" in given:
        change["name"] = asked.name
    if "weight" in given:
        ceilings_of(request).require_weight(asked.weight)
        change["weight"] = asked.weight
    if "budget" in given:
        if _may_spend_more(before.budget, asked.budget):
            require(request.state.key, Scope.ADMIN)
        change["budget"] = asked.budget
    if "metadata" in given:
        change["metadata"] = merged(before.metadata or {}, asked.metadata) or {}
        check_metadata(change["metadata"])
    return change


def _may_spend_more(before: int | None, after: int | None) -> bool:
    return before is not None and (after is None or after > before)
