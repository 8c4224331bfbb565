"""Errors as RFC 9457 problem documents: a stable type, the fault, and the remedy."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.problem_types import PREFIX, PROBLEM_TYPES

MEDIA_TYPE = "application/problem+json"


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
    status: int, kind: str, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The response for one problem; `field` names the part of the request that is at fault."""
    known = PROBLEM_TYPES.get(kind)
    document: dict[str, Any] = {
        "type": PREFIX + kind,
        "title": known.title if known else HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if field:
        document["field"] = field
    if known:
        document["remedy"] = known.remedy
    asks = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
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
