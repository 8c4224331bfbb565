"""What a producer does to one job of its own: cancel, retry, release, delete."""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Response
from sqlalchemy.orm import Session

from api.access import AtHand, Effect, ProducerId
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import own_job
from api.schemas import JobView, view_job
from api.services import Services
from jobs import store
from jobs.approval import NEEDS_APPROVAL
from jobs.database import Database
from jobs.deleting import delete_job, give_up_cutout, is_being_taken
from jobs.quotas import take_quota
from jobs.states import FINAL_STATES, State
from jobs.unexpected import Unexpected, prefix_of

router = v1_router("/v1/jobs/{job_id}", "jobs")

NOT_NOW = problems("wrong-state", "needs-approval")

Action = Callable[[Database, uuid.UUID], bool]


@router.post("/cancel", openapi_extra=NOT_NOW)
def cancel(job_id: uuid.UUID, session: Effect, producer_id: ProducerId) -> JobView:
    """Withdraw a job that has not ended. One that is cancelled stays so.

    What is paid for is still copied, and the job ends as succeeded; what runs ends by itself, and no call of
    it begins any more. `cancelled_at` says that it was asked for.
    """
    return _act(session, job_id, producer_id, store.cancel, (*store.CANCELLABLE, State.CANCELLED))


@router.post("/retry", openapi_extra=problems("wrong-state", "needs-approval", "quota-reached"))
def retry(job_id: uuid.UUID, session: Effect, producer_id: ProducerId) -> JobView:
    """Put a job that failed or is held back in line, with all its tries; called again it costs again.

    One that failed counts against the quota again.
    """
    if own_job(session, job_id, producer_id).state == State.FAILED:
        take_quota(session, producer_id, 1)
    return _act(session, job_id, producer_id, store.retry, store.RETRIABLE)


@router.post("/release", openapi_extra=NOT_NOW)
def release(job_id: uuid.UUID, session: Effect, producer_id: ProducerId) -> JobView:
    """Put a job that is held back in line, with all its tries; called again it costs again."""
    return _act(session, job_id, producer_id, store.release, (State.HELD,))


@router.delete("", status_code=HTTPStatus.NO_CONTENT, openapi_extra=problems("wrong-state"))
def delete(
    job_id: uuid.UUID,
    at_hand: AtHand,
    producer_id: ProducerId,
    response: Response,
    *,
    objects: Annotated[
        bool,
        Query(
            description="Also its cutout in the bucket, unless another job was served from it, and what came"
            " unexpectedly for it"
        ),
    ] = False,
) -> None:
    """Forget a job that has ended. What it cost stays in the ledger, and its batch goes on counting it.

    The header `Cutout-Old-Version: kept` in the answer says that the bucket keeps versions, and with them the
    objects deleted.
    """
    with Session(at_hand.engine) as session, session.begin():
        job = own_job(session, job_id, producer_id)
        if job.state not in FINAL_STATES:
            raise _not_now(job_id, job.state, sorted(FINAL_STATES))
        unexpected = Unexpected.of(job.unexpected)
    # First what it stored: should the bucket be away, the job is still there to be deleted again.
    if objects:
        keys = _keys_of_cutout(at_hand, job_id, producer_id)
        if unexpected is not None:
            # The row names the last of them alone.
            keys += at_hand.bucket.keys(prefix_of(job_id))
        kept = [at_hand.bucket.delete(key) for key in keys]
        if any(kept):
            response.headers["Cutout-Old-Version"] = "kept"
    with Session(at_hand.engine) as session, session.begin():
        if not delete_job(session, job_id, producer_id):
            raise _not_now(job_id, own_job(session, job_id, producer_id).state, sorted(FINAL_STATES))


def _keys_of_cutout(at_hand: Services, job_id: uuid.UUID, producer_id: uuid.UUID) -> list[str]:
    """The cutout's key, unless another job has it."""
    with Session(at_hand.engine) as session, session.begin():
        key = give_up_cutout(session, job_id, producer_id)
    if key is None:
        return []
    with Session(at_hand.engine) as session:
        return [] if is_being_taken(session, job_id, key) else [key]


def _act(
    session: Session, job_id: uuid.UUID, producer_id: uuid.UUID, action: Action, states: tuple[State, ...]
) -> JobView:
    before = own_job(session, job_id, producer_id)
    moved = action(session, job_id)
    job = own_job(session, job_id, producer_id)
    if not moved and before.code == NEEDS_APPROVAL and job.state == State.HELD:
        remedy = f"approve its batch {job.batch_id}, or cancel it"
        raise ProblemError(HTTPStatus.CONFLICT, "needs-approval", f"the job waits for approval; {remedy}")
    if not moved and job.state not in states:
        raise _not_now(job_id, job.state, states)
    return view_job(job)


def _not_now(job_id: uuid.UUID, state: str, states: "tuple[State, ...] | list[State]") -> ProblemError:
    allowed = " or ".join(states)
    return ProblemError(
        HTTPStatus.CONFLICT, "wrong-state", f"the job {job_id} is {state}; this is for one that is {allowed}"
    )
