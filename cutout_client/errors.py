"""Errors, one class for each thing that a caller can do about them."""

import json
from typing import Any

from cutout_client.steps import Answer

PREFIX = "urn:cutout:problem:"
REQUEST_PREFIX = "urn:cutout:request:"


class CutoutError(Exception):
    """Base class of all errors of this client."""


class NoAnswerError(CutoutError):
    """The API could not be reached, or the connection broke, in all tries."""


class BrokenAnswerError(CutoutError):
    """The answer is not one of this API, or not whole: see whether the address is right, and ask again."""


class NotDoneError(CutoutError):
    """The job or batch was not finished in the time given. It continues; wait again."""


class BrokenDownloadError(CutoutError):
    """The downloaded bytes are not all or not those that were stored. Download it again."""


class WebhookError(CutoutError):
    """The message is not signed with your secret, or not now, or is not a message: answer it with 401."""


class ApiError(CutoutError):
    """The API refused. `kind` is the end of `type` and stable: docs/reference/problems.md.

    `request_id` names the request to the operator; None for an answer that is not the API's.
    """

    def __init__(self, status: int, problem: dict[str, Any], request_id: str | None = None) -> None:
        self.status = status
        self.type = _text(problem, "type") or ""
        self.kind = self.type.removeprefix(PREFIX)
        self.title = _text(problem, "title") or ""
        self.detail = _text(problem, "detail") or ""
        self.field = _text(problem, "field")
        self.remedy = _text(problem, "remedy")
        instance = _text(problem, "instance") or ""
        named = instance.removeprefix(REQUEST_PREFIX) if instance.startswith(REQUEST_PREFIX) else None
        self.request_id = named or request_id
        self.problem = problem
        super().__init__(f"{status} {self.kind or 'without a type'}: {self.detail or self.title}")


class UnauthorizedError(ApiError):
    """The key is missing, unknown, revoked or expired: ask the operator."""


class ForbiddenError(ApiError):
    """The key lacks a scope: ask the operator."""


class MissingError(ApiError):
    """You have no such job, batch, schedule, endpoint or delivery, or the job no such output."""


class ConflictError(ApiError):
    """The state of the job, batch or schedule does not allow this: look at it, `detail` says why."""


class NoResultError(ConflictError):
    """The job has no cutout, or not yet."""


class OutputWaitingError(NoResultError):
    """The picture is still to be made from what was bought: ask again later."""


class OutputFailedError(NoResultError):
    """The picture could not be made from what was bought, which is there."""


class JobExistsError(ConflictError):
    """You have a job of this external id already: `job_id`."""

    @property
    def job_id(self) -> str:
        """The id of the job that exists."""
        return _text(self.problem, "job_id") or ""


class ScheduleExistsError(ConflictError):
    """You have a schedule of this name already: `schedule_id`."""

    @property
    def schedule_id(self) -> str:
        """The id of the schedule that exists; empty if it was removed meanwhile."""
        return _text(self.problem, "schedule_id") or ""


class ChangedMeanwhileError(ApiError):
    """It was changed since you read what `if_match` names: read it again, and decide again."""


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
    "output-waiting": OutputWaitingError,
    "output-failed": OutputFailedError,
    "job-exists": JobExistsError,
    "schedule-exists": ScheduleExistsError,
    "idempotency-key-reused": KeyReusedError,
}
BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: MissingError,
    405: InvalidError,
    409: ConflictError,
    412: ChangedMeanwhileError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
    429: TooMuchError,
    500: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(answer: Answer) -> ApiError:
    """Make the error for a refusal. A proxy's own pages have no type."""
    problem = _problem_of(answer)
    chosen = BY_KIND.get(kind_of(answer)) or BY_STATUS.get(answer.status, ApiError)
    return chosen(answer.status, {"title": answer.reason, **problem}, answer.headers.get("x-request-id"))


def kind_of(answer: Answer) -> str:
    """The kind of an answer's problem; empty for an answer that is no problem document."""
    return (_text(_problem_of(answer), "type") or "").removeprefix(PREFIX)


def _problem_of(answer: Answer) -> dict[str, Any]:
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _text(problem: dict[str, Any], name: str) -> str | None:
    value = problem.get(name)
    return value if isinstance(value, str) else None
