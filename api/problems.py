"""Errors as RFC 9457 problem documents: a stable type, what was wrong, and what to do about it."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from jobs.database import PostgresAwayError
from jobs.enqueue import InvalidJobError
from jobs.schedules.errors import InvalidScheduleError
from jobs.storage import StorageError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:cutout:problem:"
# What they call otherwise over the wire: a producer's source is always a manifest.
OF_SCHEDULES = {"source": "manifest_url"}


class ProblemError(Exception):
    """Ends a request with a problem. `kind` is stable and ends the document's `type`."""

    def __init__(self, status: HTTPStatus, kind: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.field = status, kind, detail, field


def problem(status: int, kind: str, detail: str, *, field: str | None = None) -> JSONResponse:
    """The response for one problem; `field` names the part of the request that is at fault."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + kind,
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if field:
        document["field"] = field
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of the app a problem document."""

    @app.exception_handler(ProblemError)
    def _problem(_: Request, error: ProblemError) -> JSONResponse:
        return problem(error.status, error.kind, error.detail, field=error.field)

    @app.exception_handler(InvalidJobError)
    def _invalid_job(_: Request, error: InvalidJobError) -> JSONResponse:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-job", str(error), field=error.field)

    @app.exception_handler(InvalidScheduleError)
    def _invalid_schedule(_: Request, error: InvalidScheduleError) -> JSONResponse:
        field = OF_SCHEDULES.get(error.field, error.field)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-schedule", str(error), field=field)

    @app.exception_handler(StorageError)
    def _storage(_: Request, error: StorageError) -> JSONResponse:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "storage-unavailable", f"{error}; try again later")

    @app.exception_handler(PostgresAwayError)
    def _database(_: Request, error: PostgresAwayError) -> JSONResponse:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", f"{error}; try again later")

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return invalid_request(list(error.errors()))

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> JSONResponse:
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return problem(error.status_code, kind, str(error.detail))


def invalid_request(errors: list[Any]) -> JSONResponse:
    """The problem for a request that does not fit its schema: its first fault, by field."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query"))
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        f"{field or 'the body'}: {first['msg']}",
        field=field,
    )
