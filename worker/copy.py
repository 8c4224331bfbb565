"""The step that costs nothing and must not be lost: the paid result goes into the bucket."""

import logging
from datetime import UTC, datetime

from jobs.keys import cutout_key
from jobs.outcomes import Hold, Lost, Outcome, Retry, Snooze, StoredObject, Succeeded
from jobs.states import Step
from jobs.storage import StorageError
from jobs.store import Claim, PaidResult
from worker import paid_result
from worker.context import WorkerContext
from worker.deadline import next_try_within, seconds_left
from worker.endpoint.errors import ResultGone, ResultUnavailable, ResultUrlRefused, ResultWrong
from worker.endpoint.result_check import CutoutImage
from worker.lifeboat import LifeboatError

log = logging.getLogger(__name__)

BY_HAND = "retry it to call again, for another credit"
TRIES_OF_A_WRONG_RESULT = 5
# A server may say once that it has not what it has; a loss declared too early is a credit thrown away.
TRIES_OF_A_GONE_RESULT = 3


def copy(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    """Fetch the paid result, check it, and store it. The claim returned knows if it is in the lifeboat.

    Any failure leaves the job at this step, to be tried again in time, unless the result is dead.
    """
    result = claim.result
    if result is None:
        return claim, Hold("RESULT_LOST", f"the job is at its copy without a result; {BY_HAND}")
    try:
        cutout, saved = paid_result.fetch(context, claim, result)
    except LifeboatError as error:
        return claim, _again(context, claim, error.code, str(error))
    except ResultGone as error:
        if claim.tries + 1 < TRIES_OF_A_GONE_RESULT and seconds_left(context, result) > 0:
            return claim, _again(context, claim, "RESULT_UNAVAILABLE", str(error))
        return _dead(context, claim, result, str(error))
    except (ResultUrlRefused, ResultUnavailable) as error:
        if seconds_left(context, result) <= 0:
            return _dead(context, claim, result, f"{error}, and its time is over")
        refused = isinstance(error, ResultUrlRefused)
        code = "RESULT_HOST_REFUSED" if refused else "RESULT_UNAVAILABLE"
        return claim, _again(context, claim, code, str(error))
    except ResultWrong as error:
        if claim.tries + 1 >= TRIES_OF_A_WRONG_RESULT:
            return claim, Hold("RESULT_WRONG", f"{error}; {BY_HAND}")
        return claim, _again(context, claim, "RESULT_WRONG", str(error))
    return _put_away(context, claim, cutout, save=not saved and _is_due(context, result))


def _put_away(
    context: WorkerContext, claim: Claim, cutout: CutoutImage, *, save: bool
) -> tuple[Claim, Outcome]:
    """Into the bucket; before that into the lifeboat, if it is due, for the bucket may take its time."""
    code, trouble = "STORAGE_AWAY", ""
    if save:
        try:
            claim = paid_result.save(context, claim, cutout)
        except LifeboatError as error:
            log.error("the result of job %s is not saved: %s", claim.job_id, error)  # noqa: TRY400
            code, trouble = error.code, f"{error}; "
    try:
        return claim, Succeeded(_store(context, claim, cutout))
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return claim, _again(context, claim, code, f"{trouble}{error}")


def _store(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> StoredObject:
    key = cutout_key(
        context.settings.key_template,
        job_id=claim.job_id,
        batch_id=claim.batch_id,
        external_id=claim.external_id,
        return_form=claim.return_form,
        extension=cutout.extension,
    )
    metadata = {"job": str(claim.job_id), "fence": str(claim.fence), "form": claim.return_form}
    sha256 = context.objects.put_cutout(cutout.data, key=key, media_type=cutout.media_type, metadata=metadata)
    return StoredObject(
        key=key,
        sha256=sha256,
        media_type=cutout.media_type,
        size_bytes=len(cutout.data),
        width=cutout.width,
        height=cutout.height,
    )


def _is_due(context: WorkerContext, result: PaidResult) -> bool:
    left = result.expires_at - datetime.now(UTC)
    return left.total_seconds() < context.settings.lifeboat_seconds


def _again(context: WorkerContext, claim: Claim, code: str, message: str) -> Retry:
    """The copy once more, in time."""
    within, result = next_try_within(context, claim), claim.result
    if within is not None and result and context.lifeboat is None and _is_due(context, result):
        log.error(
            "the paid result of job %s dies at %s and is saved nowhere (%s): CUTOUT_LIFEBOAT_DIR is not set",
            claim.job_id,
            result.expires_at.isoformat(timespec="seconds"),
            code,
        )
    return Retry(Step.COPY, code, message, at_most_seconds=within)


def _dead(context: WorkerContext, claim: Claim, result: PaidResult, reason: str) -> tuple[Claim, Outcome]:
    """The URL is dead. Only if the lifeboat has nothing either is the result lost."""
    try:
        found = paid_result.find_unwritten(context, claim, result)
    except LifeboatError as error:
        log.error("the lifeboat cannot be asked for the result of job %s: %s", claim.job_id, error)  # noqa: TRY400
        return claim, _again(context, claim, error.code, f"{reason}; {error}")
    if found is not None:
        return found, Snooze("RESULT_UNAVAILABLE", f"{reason}; it is in the lifeboat", 0.0)
    log.error("a paid result is lost, that of job %s: %s", claim.job_id, reason)
    return claim, Lost("RESULT_EXPIRED", f"{reason}: a paid result was lost; {BY_HAND}")
