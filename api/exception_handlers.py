"""Exception handlers: errors of ours, the framework, the database and the bucket become problem documents."""

import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.operations import operations_of
from api.problems import ProblemError, invalid_request, problem
from api.services import Services
from cutout.administration.delete_batch import NotDeletableError
from cutout.models.database import PostgresAwayError, is_away
from cutout.outputs.recipes import RecipeError
from cutout.producers.ceilings import AboveCeilingError
from cutout.producers.quotas import QuotaReachedError, count_anew
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.queue.batch_changes import WeightJustChangedError
from cutout.queue.blocks.pauses import PausedByOperatorError
from cutout.queue.enqueue import InvalidJobError, JobExistsError
from cutout.queue.outputs.ask import OtherRecipeError
from cutout.schedules.schedule_errors import InvalidScheduleError, ScheduleExistsError
from cutout.schedules.skips import SkippedByOperatorError
from cutout.storage import StorageError

# What the framework itself refuses; its other statuses are named for what they are.
KINDS = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
}
# What they call otherwise over the wire: a producer's source is always a manifest.
OF_SCHEDULES = {"source": "manifest_url"}
LONGEST_SHOWN = 200
# Jobs end by the second, not by the millisecond.
AFTER_QUOTA = {"Retry-After": "10"}


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    answers: dict[type[Exception], Any] = {
        ProblemError: _problem,
        InvalidJobError: _invalid_job,
        JobExistsError: _job_exists,
        RecipeError: _invalid_outputs,
        OtherRecipeError: _invalid_outputs,
        InvalidScheduleError: _invalid_schedule,
        ScheduleExistsError: _schedule_exists,
        QuotaReachedError: _quota_reached,
        AboveCeilingError: _above_ceiling,
        BatchIsEndingError: _not_now,
        WeightJustChangedError: _weight_just_changed,
        NotDeletableError: _not_now,
        PausedByOperatorError: _paused_by_operator,
        SkippedByOperatorError: _skipped_by_operator,
        StorageError: _storage_away,
        RequestValidationError: _invalid_request,
        HTTPException: _refused_by_framework,
        ClientDisconnect: _broke_off,
        DBAPIError: _database_error,
        NoConnectionFreeError: _database_away,
        PostgresAwayError: _database_away,
    }
    for error, answer in answers.items():
        app.add_exception_handler(error, answer)


async def _problem(_: Request, error: ProblemError) -> JSONResponse:
    return problem(error.status_code, error.kind, error.detail, field=error.field, headers=error.headers)


async def _invalid_job(_: Request, error: InvalidJobError) -> JSONResponse:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-job", str(error), field=error.field)


async def _job_exists(_: Request, error: JobExistsError) -> JSONResponse:
    known = {} if error.job_id is None else {"job_id": str(error.job_id)}
    headers = {"Location": f"/v1/jobs/{job_id}"} if (job_id := known.get("job_id")) else {}
    return problem(
        HTTPStatus.CONFLICT, "job-exists", str(error), field=error.field, headers=headers, members=known
    )


async def _invalid_outputs(_: Request, error: ValueError) -> JSONResponse:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-job", str(error), field="outputs")


async def _quota_reached(request: Request, error: QuotaReachedError) -> JSONResponse:
    services: Services = request.app.state.services
    # It is counted at most once a second; a request without a turn leaves it to the others.
    with suppress(ProblemError):
        await services.threads.run(error.producer_id, _count_anew, services, error.producer_id)
    return problem(HTTPStatus.TOO_MANY_REQUESTS, "quota-reached", str(error), headers=AFTER_QUOTA)


def _count_anew(services: Services, producer_id: uuid.UUID) -> None:
    with Session(services.engine) as session, session.begin():
        count_anew(session, producer_id)


async def _above_ceiling(_: Request, error: AboveCeilingError) -> JSONResponse:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "above-ceiling", str(error), field=error.field)


async def _weight_just_changed(_: Request, error: WeightJustChangedError) -> JSONResponse:
    headers = {"Retry-After": str(error.seconds)}
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS, "weight-just-changed", str(error), field="weight", headers=headers
    )


async def _not_now(_: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.CONFLICT, "wrong-state", str(error))


async def _paused_by_operator(_: Request, error: PausedByOperatorError) -> JSONResponse:
    return problem(HTTPStatus.CONFLICT, "paused-by-operator", str(error))


async def _skipped_by_operator(_: Request, error: SkippedByOperatorError) -> JSONResponse:
    return problem(HTTPStatus.FORBIDDEN, "skipped-by-operator", str(error))


async def _invalid_schedule(_: Request, error: InvalidScheduleError) -> JSONResponse:
    field = OF_SCHEDULES.get(error.field, error.field)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-schedule", str(error), field=field)


async def _schedule_exists(_: Request, error: ScheduleExistsError) -> JSONResponse:
    known = {} if error.schedule_id is None else {"schedule_id": str(error.schedule_id)}
    headers = {"Location": f"/v1/schedules/{known['schedule_id']}"} if known else {}
    return problem(
        HTTPStatus.CONFLICT, "schedule-exists", str(error), field=error.field, headers=headers, members=known
    )


async def _storage_away(_: Request, error: StorageError) -> JSONResponse:
    text = f"{error}; try again later"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "storage-unavailable", text)


async def _invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return await _problem(request, invalid_request(error.errors()))


async def _refused_by_framework(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    # The framework names the methods of the first route at the address alone.
    address = request.scope["path"]
    allowed = operations_of(request.app).methods_at(address)
    shown = repr(address[:LONGEST_SHOWN])
    if status is HTTPStatus.METHOD_NOT_ALLOWED and allowed:
        text = f"{shown} does not know the method {request.method[:20]}; it knows {', '.join(allowed)}"
        return problem(status, "method-not-allowed", text, headers={"Allow": ", ".join(allowed)})
    if status is HTTPStatus.NOT_FOUND:
        return problem(status, "not-found", f"there is no address {shown}{_nearest(request.app, address)}")
    kind = KINDS.get(status) or status.phrase.lower().replace(" ", "-")
    return problem(status, kind, str(error.detail), headers=error.headers)


def _nearest(app: FastAPI, address: str) -> str:
    bare = address.rstrip("/")
    return (
        "; leave out the slash at its end" if bare != address and operations_of(app).methods_at(bare) else ""
    )


async def _broke_off(_: Request, _error: ClientDisconnect) -> JSONResponse:
    # Nobody reads it: the client went away before its request was whole.
    return problem(HTTPStatus.BAD_REQUEST, "bad-request", "the request broke off")


async def _database_error(request: Request, error: DBAPIError) -> JSONResponse:
    if not is_away(error):
        raise error
    return await _database_away(request, error)


async def _database_away(_: Request, _error: Exception) -> JSONResponse:
    text = "the database does not answer in time; try again later"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", text)
