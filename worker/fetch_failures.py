"""Results that cannot be fetched stop new calls: never buy what cannot be fetched and stored."""

import logging
from functools import partial

import httpx

from jobs import unfetched
from jobs.store import Claim, PaidResult
from jobs.unfetched import Failure
from worker.context import WorkerContext
from worker.endpoint.errors import ResultError, ResultUrlRefused, ResultWrong

log = logging.getLogger(__name__)


def count_failure(context: WorkerContext, claim: Claim, result: PaidResult, error: ResultError) -> None:
    """Write down that this result could not be fetched, or is not what was asked for."""
    failure = Failure(httpx.URL(result.url).host, _code(error), str(error))
    failed = partial(unfetched.failed, job_id=claim.job_id, expires_at=result.expires_at, failure=failure)
    if context.patiently(failed):
        log.error(
            "paid results cannot be fetched, so calls stop until one can: at %s: %s: %s",
            failure.host,
            failure.code,
            failure.message,
        )


def _code(error: ResultError) -> str:
    match error:
        case ResultUrlRefused():
            return "RESULT_HOST_REFUSED"
        case ResultWrong():
            return "RESULT_UNEXPECTED"
        case _:
            return "RESULT_UNAVAILABLE"
