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

from api.openapi import methods_at
from api.problems import ProblemError, invalid_request, problem
from api.services import Services
from cutout.models.database import PostgresAwayError, is_away
from cutout.producers.ceilings import AboveCeilingError
from cutout.producers.quotas import QuotaReachedError, count_anew
from cutout.queue.blocks.pauses import PausedByOperatorError
from cutout.queue.enqueue import InvalidJobError
from cutout.schedules.schedule_errors import InvalidScheduleError
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
LATER = {"Retry-After": "5"}
# Jobs end by the second, not by the millisecond.
AFTER_QUOTA = {"Retry-After": "10"}


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    answers: dict[type[Exception], Any] = {
        ProblemError: _problem,
        InvalidJobError: _invalid_job,
        InvalidScheduleError: _invalid_schedule,
        QuotaReachedError: _quota_reached,
        AboveCeilingError: _above_ceiling,
        PausedByOperatorError: _paused_by_operator,
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


async def _paused_by_operator(_: Request, error: PausedByOperatorError) -> JSONResponse:
    return problem(HTTPStatus.CONFLICT, "paused-by-operator", str(error))


async def _invalid_schedule(_: Request, error: InvalidScheduleError) -> JSONResponse:
    field = OF_SCHEDULES.get(error.field, error.field)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-schedule", str(error), field=field)


async def _storage_away(_: Request, error: StorageError) -> JSONResponse:
    text = f"{error}; try again later"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "storage-unavailable", text, headers=LATER)


async def _invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return await _problem(request, invalid_request(error.errors()))


async def _refused_by_framework(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of the first route at the address alone.
        allowed = methods_at(request.app, request.url.path)
        if allowed:
            error.headers = {"Allow": ", ".join(allowed)}
    kind = KINDS.get(status) or status.phrase.lower().replace(" ", "-")
    return problem(status, kind, str(error.detail), headers=error.headers)


async def _broke_off(_: Request, _error: ClientDisconnect) -> JSONResponse:
    # Nobody reads it: the client went away before its request was whole.
    return problem(HTTPStatus.BAD_REQUEST, "bad-request", "the request broke off")


async def _database_error(request: Request, error: DBAPIError) -> JSONResponse:
    if not is_away(error):
        raise error
    return await _database_away(request, error)


async def _database_away(_: Request, _error: Exception) -> JSONResponse:
    text = "the database does not answer in time; try again later"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", text, headers=LATER)
