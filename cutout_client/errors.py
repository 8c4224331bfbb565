"""Errors, one class for each thing that a caller can do about them."""

from typing import Any

import httpx

PREFIX = "urn:cutout:problem:"


class CutoutError(Exception):
    """Base class of all errors of this client."""


class NoAnswerError(CutoutError):
    """The API could not be reached, or the connection broke, in all tries."""


class NotDoneError(CutoutError):
    """The job was not finished in the time given. It continues; wait again."""


class BrokenDownloadError(CutoutError):
    """The downloaded bytes are not those of the cutout. Download it again."""


class ApiError(CutoutError):
    """The API refused. `kind` is the end of the problem's type and stable: docs/reference/problems.md."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.kind = str(problem.get("type", "")).removeprefix(PREFIX)
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.field: str | None = problem.get("field")
        self.remedy: str | None = problem.get("remedy")
        super().__init__(f"{status} {self.kind or 'without a type'}: {self.detail or self.title}")


class UnauthorizedError(ApiError):
    """The key is missing, unknown, revoked or expired: ask the operator."""


class ForbiddenError(ApiError):
    """The key lacks a scope: ask the operator."""


class MissingError(ApiError):
    """You have no such job or batch."""


class NoResultError(ApiError):
    """The job has no cutout, or not yet."""


class InvalidError(ApiError):
    """The request is wrong: fix what `field` names. Sending it again does not help."""


class KeyReusedError(InvalidError):
    """The idempotency key belongs to another request: make a new one."""


class TooMuchError(ApiError):
    """Too many requests or unfinished jobs, after all tries: try again later."""


class UnavailableError(ApiError):
    """The API or a service that it needs is unavailable, after all tries: try again later."""


BY_KIND: dict[str, type[ApiError]] = {
    "no-result": NoResultError,
    "idempotency-key-reused": KeyReusedError,
}
BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: MissingError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
    429: TooMuchError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(answer: httpx.Response) -> ApiError:
    """Make the error for a refusal. A proxy's own pages have no type."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = str(problem.get("type", "")).removeprefix(PREFIX)
    chosen = BY_KIND.get(kind) or BY_STATUS.get(answer.status_code, ApiError)
    return chosen(answer.status_code, {"title": answer.reason_phrase, **problem})
