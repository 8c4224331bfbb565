"""The free step: the paid result is fetched, checked and stored in the bucket, and never lost."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cutout.endpoint.endpoint_errors import (
    FoundFile,
    ResultDamaged,
    ResultGone,
    ResultText,
    ResultUnavailable,
    ResultUrlRefused,
    ResultWrong,
)
from cutout.endpoint.result_check import CutoutImage
from cutout.enums import Step
from cutout.models.database import PostgresAwayError
from cutout.network import Blob
from cutout.queue.attempts.outcomes import Hold, Lost, Outcome, Retry, Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim, PaidResult
from cutout.storage import ObjectMissingError, StorageError
from cutout.storage.unexpected_bytes import CODE, Unexpected
from worker.lifeboat import LifeboatError
from worker.pipeline import paid_result
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy_for_producer import key_and_metadata

log = logging.getLogger(__name__)

BY_HAND = "retry it to call again, for another credit"
# A server may deny for a while a result that it has; a loss declared too early is a credit thrown away.
TRIES_OF_A_GONE_RESULT = 3
DELAY_OF_A_GONE_RESULT_S = 120.0
# A page under status 200 instead of a picture is most likely about an outage, which passes.
TRIES_OF_A_TEXT = 5
DELAY_OF_A_TEXT_S = 60.0
# Each download may break off elsewhere; so many of them are enough for a person to see.
MOST_DAMAGED_KEPT = 5


def copy(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    """Fetch the paid result, check it, and store it. The claim returned knows if it is in the lifeboat.

    After any failure the job stays at this step and is tried again in time, unless the result has expired.
    Bytes that are not as ordered are stored before the outcome is decided.
    """
    try:
        return _copy(context, claim)
    except PostgresAwayError:
        raise
    except Exception as error:
        # No server or bug of ours may cost the result.
        log.exception("unexpected error in the copy of job %s", claim.job_id)
        message = f"{type(error).__name__} in the worker; see its log"
        return claim, _retry(context, claim, "INTERNAL_ERROR", message)


def _copy(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    if claim.unexpected is not None and claim.unexpected.accepted:
        return _copy_accepted(context, claim, claim.unexpected)
    result = claim.result
    if result is None:
        return claim, Hold("RESULT_LOST", f"the job is at its copy without a result; {BY_HAND}")
    try:
        cutout, saved = paid_result.fetch(context, claim, result)
    except LifeboatError as error:
        return claim, _retry(context, claim, error.code, str(error))
    except ResultGone as error:
        return _gone(context, claim, result, str(error))
    except ResultDamaged as error:
        return _damaged(context, claim, result, error)
    except (ResultUrlRefused, ResultUnavailable) as error:
        if _has_expired(context, result):
            return _lost(context, claim, result, f"{error}, and its time is over")
        refused = isinstance(error, ResultUrlRefused)
        code = "RESULT_HOST_REFUSED" if refused else "RESULT_UNAVAILABLE"
        return claim, _retry(context, claim, code, str(error))
    except ResultWrong as error:
        hold = partial(_hold_unexpected, found=error.found, reason=str(error))
        save = not error.saved and _is_due(context, result)
        return _store_in_time(context, claim, error.found.data, hold, save=save)
    save = not saved and _is_due(context, result)
    return _store_in_time(context, claim, cutout.data, partial(_succeed, cutout=cutout), save=save)


IntoBucket = Callable[[WorkerContext, Claim], tuple[Claim, Outcome]]
"""Stores bytes in the bucket; raises StorageError."""


def _store_in_time(
    context: WorkerContext, claim: Claim, data: Blob, into_bucket: IntoBucket, *, save: bool
) -> tuple[Claim, Outcome]:
    """Store the bytes in the bucket; with `save` in the lifeboat before, since the bucket may be slow."""
    code, problem = "STORAGE_AWAY", ""
    if save:
        try:
            claim = paid_result.save(context, claim, data)
        except LifeboatError as error:
            log.error("the result of job %s is not saved: %s", claim.job_id, error)  # noqa: TRY400
            code, problem = error.code, f"{error}; "
    try:
        return into_bucket(context, claim)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return claim, _retry(context, claim, code, f"{problem}{error}")


def _succeed(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> tuple[Claim, Outcome]:
    if cutout.warning:
        log.warning("the cutout of job %s is not quite as ordered: %s", claim.job_id, cutout.warning)
    return claim, Succeeded(_store(context, claim, cutout), bucket=context.bucket.name)


def _hold_unexpected(
    context: WorkerContext, claim: Claim, found: FoundFile, reason: str
) -> tuple[Claim, Outcome]:
    claim, kept = paid_result.keep_unexpected(context, claim, found, reason)
    return claim, Hold(CODE, f"{reason}; it is kept as {kept.key}")


def _copy_accepted(context: WorkerContext, claim: Claim, found: Unexpected) -> tuple[Claim, Outcome]:
    """Make an unexpected result the cutout: a person has accepted it."""
    try:
        cutout = paid_result.read_accepted(context, found)
    except ObjectMissingError as error:
        return claim, Hold(CODE, f"{error}; it cannot be accepted")
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return claim, _retry(context, claim, "STORAGE_AWAY", str(error))
    return _store_in_time(context, claim, cutout.data, partial(_succeed, cutout=cutout), save=False)


def _damaged(
    context: WorkerContext, claim: Claim, result: PaidResult, error: ResultDamaged
) -> tuple[Claim, Outcome]:
    """Keep the damaged bytes and download again: the next download may be whole."""
    is_text, kept = isinstance(error, ResultText), claim.unexpected
    if is_text or kept is None or kept.looks < MOST_DAMAGED_KEPT:
        try:
            claim, kept = paid_result.keep_unexpected(context, claim, error.found, str(error))
        except StorageError as problem:
            context.bucket_watch.suspect(problem)
            return claim, _retry(context, claim, "STORAGE_AWAY", f"{error}; {problem}")
    if _has_expired(context, result):
        return _lost(context, claim, result, f"{error}, and its time is over")
    if is_text and kept.looks >= TRIES_OF_A_TEXT:
        return claim, Hold(CODE, f"{error}; it is kept as {kept.key}")
    delay_s = DELAY_OF_A_TEXT_S if is_text else None
    return claim, _retry(context, claim, "RESULT_UNAVAILABLE", str(error), after_s=delay_s)


def _gone(context: WorkerContext, claim: Claim, result: PaidResult, reason: str) -> tuple[Claim, Outcome]:
    """A loss once its own server has said so three times, minutes apart; after a person's retry, at once."""
    if claim.gone_tries + 1 < TRIES_OF_A_GONE_RESULT and not _has_expired(context, result):
        retry = _retry(context, claim, "RESULT_UNAVAILABLE", reason, after_s=DELAY_OF_A_GONE_RESULT_S)
        return claim, replace(retry, gone=True)
    return _lost(context, claim, result, reason, gone=True)


def _store(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> StoredObject:
    key, metadata = key_and_metadata(context, claim, cutout.extension)
    sha256 = context.objects.put_cutout(cutout.data, key=key, media_type=cutout.media_type, metadata=metadata)
    return StoredObject(
        key=key,
        sha256=sha256,
        media_type=cutout.media_type,
        size_bytes=len(cutout.data),
        width=cutout.width,
        height=cutout.height,
        warning=cutout.warning,
    )


def _has_expired(context: WorkerContext, result: PaidResult) -> bool:
    return context.store.seconds_left(result) <= 0


def _is_due(context: WorkerContext, result: PaidResult) -> bool:
    """Whether it is time to save the result in the lifeboat."""
    return result.left_s < context.settings.lifeboat_seconds


def _retry(
    context: WorkerContext, claim: Claim, code: str, message: str, *, after_s: float | None = None
) -> Retry:
    """Copy once more, before the result expires."""
    within, result = paid_result.next_try_within(context, claim), claim.result
    if within is not None and result and context.lifeboat is None and _is_due(context, result):
        log.error(
            "the paid result of job %s dies at %s and is saved nowhere (%s): CUTOUT_LIFEBOAT_DIR is not set",
            claim.job_id,
            result.expires_at,
            code,
        )
    return Retry(Step.COPY, code, message, after_seconds=after_s, at_most_seconds=within)


def _lost(
    context: WorkerContext, claim: Claim, result: PaidResult, reason: str, *, gone: bool = False
) -> tuple[Claim, Outcome]:
    """A loss, since the URL does not work any more, unless the lifeboat has the result."""
    try:
        found = paid_result.find_unrecorded(context, claim, result)
    except LifeboatError as error:
        log.error("the lifeboat cannot be asked for the result of job %s: %s", claim.job_id, error)  # noqa: TRY400
        return claim, _retry(context, claim, error.code, f"{reason}; {error}")
    if found is not None:
        return found, Snooze("RESULT_UNAVAILABLE", f"{reason}; it is in the lifeboat", 0.0)
    log.error("a paid result is lost, that of job %s: %s", claim.job_id, reason)
    # Held once for being gone, it is here again only because a person retried it.
    again = gone and claim.gone_tries >= TRIES_OF_A_GONE_RESULT
    message = f"{reason}: a paid result was lost; {BY_HAND}"
    return claim, Lost("RESULT_EXPIRED", message, gone=gone, again=again)
