"""Actions on one job: cancel, retry, release, accept, delete."""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.authentication import asked_by
from api.dependencies import IdempotentSession, Pace, ProducerId, ServicesDep, Turn
from api.openapi import changes_what_was_seen
from api.openapi_headers import answer_headers
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import locked_job, nothing_unexpected, own_job, require_job_match, view_for
from api.schemas import JobView
from api.schemas.deletion_views import DeletionView, view_deletion
from cutout import queue
from cutout.actions import Asked
from cutout.actions import jobs as actions
from cutout.administration.delete import (
    OLD_VERSION,
    Deletion,
    delete_objects,
    find_deletable,
    keep_objects,
)
from cutout.enums import FINAL_STATES, State
from cutout.models.database import Database
from cutout.producers.quotas import take_quota
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.status.job_view import JobSnapshot
from cutout.storage.unexpected_bytes import Unexpected

router = v1_router("/v1/jobs/{job_id}", "jobs")

NOT_NOW = changes_what_was_seen("wrong-state", "needs-approval")

# Where an accepted picture is on its way to the cutout, or is it.
ACCEPTED = (State.QUEUED, State.RUNNING, State.SUCCEEDED)

Action = Callable[[Database, Asked, uuid.UUID], bool]


@router.post("/cancel", openapi_extra=NOT_NOW)
def cancel(
    job_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId, pace: Pace
) -> JobView:
    """Withdraw a job that has not ended. One that is cancelled stays so.

    What is paid for is still copied, and the job ends as succeeded; what runs ends by itself, and no call of
    it begins any more. `cancelled_at` says that it was asked for.
    """
    require_job_match(request, session, job_id, producer_id)
    job = _act(request, session, job_id, actions.cancel_job, (*queue.CANCELLABLE, State.CANCELLED))
    return view_for(job, producer_id, pace)


@router.post("/retry", openapi_extra=changes_what_was_seen("wrong-state", "needs-approval", "quota-reached"))
def retry(
    job_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId, pace: Pace
) -> JobView:
    """Put a job that failed or is held back in the queue, with all its tries; called again it costs again.

    One that failed counts against the quota again.
    """
    require_job_match(request, session, job_id, producer_id)
    if own_job(session, job_id, producer_id).state == State.FAILED:
        take_quota(session, producer_id, 1)
    return view_for(_act(request, session, job_id, actions.retry_job, queue.RETRIABLE), producer_id, pace)


@router.post("/release", openapi_extra=NOT_NOW)
def release(
    job_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId, pace: Pace
) -> JobView:
    """Put a job that is held back in the queue, with all its tries; called again it costs again."""
    require_job_match(request, session, job_id, producer_id)
    return view_for(_act(request, session, job_id, actions.release_job, (State.HELD,)), producer_id, pace)


@router.post(
    "/accept",
    openapi_extra=changes_what_was_seen("wrong-state", "nothing-unexpected", "unexpected-no-picture"),
)
def accept(
    job_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId, pace: Pace
) -> JobView:
    """Make the unexpected picture of a job that is held for it its cutout. One that is accepted stays so.

    It is paid for: no call is made. Look at it first, at the `url` of `unexpected`; with `If-Match` it is
    accepted only if nothing else came since.
    """
    require_job_match(request, session, job_id, producer_id)
    job = locked_job(session, job_id, producer_id)
    found = Unexpected.of(job.unexpected)
    if found is None:
        raise nothing_unexpected(job_id)
    if not found.is_picture:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "unexpected-no-picture",
            f"what came for the job {job_id} is {found.media_type} without a size in pixels",
        )
    if not actions.accept_job(session, asked_by(request), job_id, found):
        if not found.accepted or job.state not in ACCEPTED:
            raise _not_now(job_id, job.state, (State.HELD,))
        return view_for(job, producer_id, pace)
    return view_for(own_job(session, job_id, producer_id), producer_id, pace)


@router.post("/retry-outputs", openapi_extra=changes_what_was_seen("wrong-state"))
def retry_outputs(
    job_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId, pace: Pace
) -> JobView:
    """Make the outputs of the job that failed again, with all their tries. It costs no credit."""
    own_job(session, job_id, producer_id)
    require_job_match(request, session, job_id, producer_id)
    actions.retry_job_outputs(session, asked_by(request), job_id)
    return view_for(own_job(session, job_id, producer_id), producer_id, pace)


@router.delete(
    "",
    responses={200: answer_headers("Cutout-Old-Version")},
    openapi_extra=changes_what_was_seen("wrong-state"),
)
def delete(
    job_id: uuid.UUID,
    services: ServicesDep,
    producer_id: ProducerId,
    request: Request,
    response: Response,
    _turn: Turn,
    *,
    objects: Annotated[
        bool,
        Query(
            description="Also its cutout in the bucket and its uploaded source, unless another job of yours"
            " has it, its outputs, and what came unexpectedly for it"
        ),
    ] = False,
) -> DeletionView:
    """Delete a job that has ended; the answer names the removed parts, and the kept ones with the reason.

    What it cost stays in the ledger, and its batch still counts it. Messages of webhooks about it are
    deleted, and the results of its batch written anew without it. The header `Cutout-Old-Version: kept` in
    the answer says that the bucket keeps versions, and with them the objects deleted.
    """
    told = Deletion()
    with Session(services.engine) as session, session.begin():
        require_job_match(request, session, job_id, producer_id)
        job = find_deletable(session, job_id, producer_id)
        if job is None:
            raise _not_now(job_id, own_job(session, job_id, producer_id).state, sorted(FINAL_STATES))
    # Its objects first: if the bucket is unreachable, the job is still there to be deleted again.
    if objects:
        delete_objects(services.engine, services.bucket, job, told)
    else:
        keep_objects(services.engine, services.bucket, job, told)
    if any(part.why == OLD_VERSION for part in told.kept):
        response.headers["Cutout-Old-Version"] = "kept"
    with Session(services.engine) as session, session.begin():
        if not actions.delete_job(session, asked_by(request), job, told):
            raise _not_now(job_id, own_job(session, job_id, producer_id).state, sorted(FINAL_STATES))
    return view_deletion(job_id, told)


def _act(
    request: Request, session: Session, job_id: uuid.UUID, action: Action, states: tuple[State, ...]
) -> JobSnapshot:
    asked = asked_by(request)
    producer_id: uuid.UUID = request.state.key.producer_id
    before = own_job(session, job_id, producer_id)
    moved = action(session, asked, job_id)
    job = own_job(session, job_id, producer_id)
    if not moved and before.code == NEEDS_APPROVAL and job.state == State.HELD:
        remedy = f"approve its batch {job.batch_id}, or cancel it"
        raise ProblemError(HTTPStatus.CONFLICT, "needs-approval", f"the job waits for approval; {remedy}")
    if not moved and job.state not in states:
        raise _not_now(job_id, job.state, states)
    return job


def _not_now(job_id: uuid.UUID, state: str, states: "tuple[State, ...] | list[State]") -> ProblemError:
    allowed = " or ".join(states)
    return ProblemError(
        HTTPStatus.CONFLICT, "wrong-state", f"the job {job_id} is {state}; this is for one that is {allowed}"
    )
