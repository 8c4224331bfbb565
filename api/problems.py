"""Errors as RFC 9457 problem documents: a stable type, the fault, and the remedy."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api import metrics
from api.problem_types import PREFIX, PROBLEM_TYPES
from cutout.telemetry import logs

MEDIA_TYPE = "application/problem+json"
# Of a request that has the id in its `X-Request-ID`.
INSTANCE = "urn:cutout:request:"
LATER_S = 5


class ProblemError(HTTPException):
    """Ends a request with a problem. `kind` is one of PROBLEM_TYPES and ends the document's `type`."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.field = kind, field


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for one problem of the present request; `field` names the part of it that is at fault.

    A 429 or 503 says when to come again, if the caller does not. `members` are more members of the document,
    which this type of problem has.
    """
    metrics.PROBLEMS.labels(int(status), kind).inc()
    known = PROBLEM_TYPES.get(kind)
    document: dict[str, Any] = {
        "type": PREFIX + kind,
        "title": known.title if known else HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if request_id := logs.present("request_id"):
        document["instance"] = INSTANCE + request_id
    if field:
        document["field"] = field
    if known:
        document["remedy"] = known.remedy
    document |= members or {}
    asks = {}
    if status == HTTPStatus.UNAUTHORIZED:
        asks = {"WWW-Authenticate": "Bearer"}
    elif status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        asks = {"Retry-After": str(LATER_S)}
    return JSONResponse(
        document, status_code=status, media_type=MEDIA_TYPE, headers={**asks, **(headers or {})}
    )


def invalid_request(errors: Sequence[Any]) -> ProblemError:
    """The problem of a request that does not fit its schema: its first fault, by field."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query", "header"))
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        f"{field or 'the body'}: {first['msg']}",
        field=field,
    )
