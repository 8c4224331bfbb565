"""Results that cannot be fetched stop new calls: never buy what cannot be fetched and stored."""

import logging
from functools import partial

import httpx

from cutout.endpoint.endpoint_errors import ResultError, ResultUrlRefused, ResultWrong
from cutout.queue.attempts import unsaved_results
from cutout.queue.attempts.unsaved_results import Failure
from cutout.queue.claims import Claim, PaidResult
from worker.pipeline.context import WorkerContext

log = logging.getLogger(__name__)


def count_failure(context: WorkerContext, claim: Claim, result: PaidResult, error: ResultError) -> None:
    """Write down that this result could not be fetched, or is not what was asked for."""
    failure = Failure(httpx.URL(result.url).host, _code(error), str(error))
    failed = partial(
        unsaved_results.failed, job_id=claim.job_id, expires_at=result.expires_at, failure=failure
    )
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
