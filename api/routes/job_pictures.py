"""Pictures of a job: what it delivers, what was bought, its outputs, and unexpected bytes."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.dependencies import ProducerId, ServicesDep, Transaction
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import LINK_SECONDS, nothing_unexpected, own_job
from api.services import Services
from cutout.enums import OutputState, State
from cutout.status.job_view import JobSnapshot
from cutout.status.outputs import JobOutput
from cutout.status.producer_texts import text_for_producer
from cutout.status.render_rate import read_render_rate
from cutout.storage.unexpected_bytes import Unexpected

router = v1_router("/v1/jobs/{job_id}", "jobs")

LONGEST_NAME = 40
OF_AN_OUTPUT = ("no-result", "output-waiting", "output-failed")


@router.get(
    "/result",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems(*OF_AN_OUTPUT),
)
def get_result(
    job_id: uuid.UUID, session: Transaction, services: ServicesDep, producer_id: ProducerId
) -> RedirectResponse:
    """Redirect to the picture in its return form and final size, by a link that is good for five minutes.

    The job may have succeeded while that picture is still to be made: then 409 with `Retry-After`.
    """
    job = own_job(session, job_id, producer_id)
    return _redirect_to_picture(session, services, job, job.return_form)


@router.get(
    "/bought",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems("no-result"),
)
def get_bought(
    job_id: uuid.UUID, session: Transaction, services: ServicesDep, producer_id: ProducerId
) -> RedirectResponse:
    """Redirect to what was bought, of which the outputs are made, by a link good for five minutes."""
    job = own_job(session, job_id, producer_id)
    return _redirect(services, _bought_key(job), job.bought_media_type)


@router.get(
    "/outputs/{name}",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems(*OF_AN_OUTPUT, "unknown-output"),
)
def get_output(
    job_id: uuid.UUID,
    name: Annotated[str, Path(min_length=1, max_length=LONGEST_NAME, pattern=r"^[A-Za-z0-9-]+$")],
    session: Transaction,
    services: ServicesDep,
    producer_id: ProducerId,
) -> RedirectResponse:
    """Redirect to an output by its name, by a link good for five minutes; 409 as for the result."""
    job = own_job(session, job_id, producer_id)
    return _redirect_to_picture(session, services, job, name)


@router.get(
    "/unexpected",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems("nothing-unexpected"),
)
def get_unexpected(
    job_id: uuid.UUID, session: Transaction, services: ServicesDep, producer_id: ProducerId
) -> RedirectResponse:
    """Redirect to the unexpected bytes of a paid call, by a link good for five minutes."""
    found = Unexpected.of(own_job(session, job_id, producer_id).unexpected)
    if found is None:
        raise nothing_unexpected(job_id)
    return _redirect(services, found.key, found.media_type)


def _bought_key(job: JobSnapshot) -> str:
    """The key of what was bought. Raises a problem 409 if there is nothing."""
    if job.bought_key is not None:
        return job.bought_key
    hint = "look again later" if job.state in (State.QUEUED, State.RUNNING) else f"see GET /v1/jobs/{job.id}"
    raise ProblemError(HTTPStatus.CONFLICT, "no-result", f"the job is {job.state} and has no cutout; {hint}")


def _redirect_to_picture(
    session: Session, services: Services, job: JobSnapshot, name: str
) -> RedirectResponse:
    """Redirect to the output of this name, or to what was bought if that is delivered as it is."""
    key = _bought_key(job)
    output = job.output(name)
    if output is not None:
        return _redirect_to_output(session, services, output)
    if name == job.return_form:
        return _redirect(services, key, job.bought_media_type)
    names = ", ".join(each.name for each in job.outputs) or "none"
    raise ProblemError(
        HTTPStatus.NOT_FOUND,
        "unknown-output",
        f"the job {job.id} has no output {name}; its outputs: {names}",
        field="name",
    )


def _redirect_to_output(session: Session, services: Services, output: JobOutput) -> RedirectResponse:
    if output.key is not None:
        return _redirect(services, output.key, output.media_type)
    if output.state == OutputState.WAITING:
        raise _still_waiting(session, output)
    reason = text_for_producer(output.message) if output.message else ""
    raise ProblemError(
        HTTPStatus.CONFLICT, "output-failed", f"the output {output.name} failed: {output.code}: {reason}"
    )


def _still_waiting(session: Session, output: JobOutput) -> ProblemError:
    rate = read_render_rate(session)
    return ProblemError(
        HTTPStatus.CONFLICT,
        "output-waiting",
        f"the output {output.name} is still to be made" + ("" if rate.processes else "; no renderer runs"),
        headers={"Retry-After": str(rate.pause_for())},
    )


def _redirect(services: Services, key: str, media_type: str | None) -> RedirectResponse:
    return RedirectResponse(
        services.bucket.presign_public(key, seconds=LINK_SECONDS, media_type=media_type),
        headers={"Cache-Control": "no-store"},
    )
