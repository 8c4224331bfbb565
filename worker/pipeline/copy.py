"""The step that costs nothing and must not be lost: the paid result goes into the bucket."""

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
from cutout.network import Blob
from cutout.queue.attempts.outcomes import Hold, Lost, Outcome, Retry, Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim, PaidResult
from cutout.storage import ObjectMissingError, StorageError
from cutout.storage.unexpected_bytes import CODE, Unexpected
from worker.lifeboat import LifeboatError
from worker.pipeline import paid_result, save_first
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy_deadline import next_try_within, seconds_left
from worker.pipeline.copy_for_producer import key_for, metadata_for

log = logging.getLogger(__name__)

BY_HAND = "retry it to call again, for another credit"
# A server may say for a while that it has not what it has; a loss declared too early is a credit thrown away.
TRIES_OF_A_GONE_RESULT = 3
REST_OF_A_GONE_RESULT_S = 120.0
# A page under status 200 instead of a picture is most likely about an outage, which passes.
LOOKS_AT_A_TEXT = 5
REST_OF_A_TEXT_S = 60.0
# Each download may break off elsewhere; so many of them are enough for a person to see.
MOST_DAMAGED_KEPT = 5


def copy(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    """Fetch the paid result, check it, and store it. The claim returned knows if it is in the lifeboat.

    Any failure leaves the job at this step, to be tried again in time, unless the result is dead. Whatever
    bytes came are stored before they are judged.
    """
    if claim.unexpected is not None and claim.unexpected.accepted:
        return _copy_accepted(context, claim, claim.unexpected)
    result = claim.result
    if result is None:
        return claim, Hold("RESULT_LOST", f"the job is at its copy without a result; {BY_HAND}")
    try:
        cutout, saved = paid_result.fetch(context, claim, result)
    except LifeboatError as error:
        return claim, _again(context, claim, error.code, str(error))
    except ResultGone as error:
        return _gone(context, claim, result, str(error))
    except ResultDamaged as error:
        return _damaged(context, claim, result, error)
    except (ResultUrlRefused, ResultUnavailable) as error:
        if seconds_left(context, result) <= 0:
            return _dead(context, claim, result, f"{error}, and its time is over")
        refused = isinstance(error, ResultUrlRefused)
        code = "RESULT_HOST_REFUSED" if refused else "RESULT_UNAVAILABLE"
        return claim, _again(context, claim, code, str(error))
    except ResultWrong as error:
        hold = partial(_hold_unexpected, found=error.found, reason=str(error))
        return _put_away(
            context, claim, error.found.data, hold, save=not error.saved and _is_due(context, result)
        )
    save = not saved and _is_due(context, result)
    return _put_away(context, claim, cutout.data, partial(_succeed, cutout=cutout), save=save)


Store = Callable[[WorkerContext, Claim], tuple[Claim, Outcome]]
"""Puts bytes into the bucket; raises StorageError."""


def _put_away(
    context: WorkerContext, claim: Claim, data: Blob, into_bucket: Store, *, save: bool
) -> tuple[Claim, Outcome]:
    """Into the bucket; before that into the lifeboat, if it is due, for the bucket may take its time."""
    code, trouble = "STORAGE_AWAY", ""
    if save:
        try:
            claim = paid_result.save(context, claim, data)
        except LifeboatError as error:
            log.error("the result of job %s is not saved: %s", claim.job_id, error)  # noqa: TRY400
            code, trouble = error.code, f"{error}; "
    try:
        return into_bucket(context, claim)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return claim, _again(context, claim, code, f"{trouble}{error}")


def _succeed(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> tuple[Claim, Outcome]:
    if cutout.warning:
        log.warning("the cutout of job %s is not quite as ordered: %s", claim.job_id, cutout.warning)
    return claim, Succeeded(_store(context, claim, cutout), bucket=context.bucket.name)


def _hold_unexpected(
    context: WorkerContext, claim: Claim, found: FoundFile, reason: str
) -> tuple[Claim, Outcome]:
    claim, kept = save_first.keep(context, claim, found, reason)
    return claim, Hold(CODE, f"{reason}; it is kept as {kept.key}")


def _copy_accepted(context: WorkerContext, claim: Claim, found: Unexpected) -> tuple[Claim, Outcome]:
    """Make the cutout of what a person has accepted."""
    try:
        cutout = paid_result.read_accepted(context, found)
    except ObjectMissingError as error:
        return claim, Hold(CODE, f"{error}; it cannot be accepted")
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return claim, _again(context, claim, "STORAGE_AWAY", str(error))
    return _put_away(context, claim, cutout.data, partial(_succeed, cutout=cutout), save=False)


def _damaged(
    context: WorkerContext, claim: Claim, result: PaidResult, error: ResultDamaged
) -> tuple[Claim, Outcome]:
    """Another download may be whole, so there is one; what came is kept all the same."""
    is_text, kept = isinstance(error, ResultText), claim.unexpected
    if is_text or kept is None or kept.looks < MOST_DAMAGED_KEPT:
        try:
            claim, kept = save_first.keep(context, claim, error.found, str(error))
        except StorageError as trouble:
            context.bucket_watch.suspect(trouble)
            return claim, _again(context, claim, "STORAGE_AWAY", f"{error}; {trouble}")
    if seconds_left(context, result) <= 0:
        return _dead(context, claim, result, f"{error}, and its time is over")
    if is_text and kept.looks >= LOOKS_AT_A_TEXT:
        return claim, Hold(CODE, f"{error}; it is kept as {kept.key}")
    rest_s = REST_OF_A_TEXT_S if is_text else None
    return claim, _again(context, claim, "RESULT_UNAVAILABLE", str(error), after_s=rest_s)


def _gone(context: WorkerContext, claim: Claim, result: PaidResult, reason: str) -> tuple[Claim, Outcome]:
    """A loss once its own server has said so three times, minutes apart; after a person's retry, at once."""
    if seconds_left(context, result) > 0 and claim.gone_tries + 1 < TRIES_OF_A_GONE_RESULT:
        again = _again(context, claim, "RESULT_UNAVAILABLE", reason, after_s=REST_OF_A_GONE_RESULT_S)
        return claim, replace(again, gone=True)
    return _dead(context, claim, result, reason, gone=True)


def _store(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> StoredObject:
    key, metadata = key_for(context, claim, cutout.extension), metadata_for(claim)
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


def _is_due(context: WorkerContext, result: PaidResult) -> bool:
    return result.left_s < context.settings.lifeboat_seconds


def _again(
    context: WorkerContext, claim: Claim, code: str, message: str, *, after_s: float | None = None
) -> Retry:
    """The copy once more, in time."""
    within, result = next_try_within(context, claim), claim.result
    if within is not None and result and context.lifeboat is None and _is_due(context, result):
        log.error(
            "the paid result of job %s dies at %s and is saved nowhere (%s): CUTOUT_LIFEBOAT_DIR is not set",
            claim.job_id,
            result.expires_at.isoformat(timespec="seconds"),
            code,
        )
    return Retry(Step.COPY, code, message, after_seconds=after_s, at_most_seconds=within)


def _dead(
    context: WorkerContext, claim: Claim, result: PaidResult, reason: str, *, gone: bool = False
) -> tuple[Claim, Outcome]:
    """The URL is dead. Only if the lifeboat has nothing either is the result lost."""
    try:
        found = paid_result.find_unwritten(context, claim, result)
    except LifeboatError as error:
        log.error("the lifeboat cannot be asked for the result of job %s: %s", claim.job_id, error)  # noqa: TRY400
        return claim, _again(context, claim, error.code, f"{reason}; {error}")
    if found is not None:
        return found, Snooze("RESULT_UNAVAILABLE", f"{reason}; it is in the lifeboat", 0.0)
    log.error("a paid result is lost, that of job %s: %s", claim.job_id, reason)
    # Held by that many, it is here again only because a person retried it.
    again = gone and claim.gone_tries >= TRIES_OF_A_GONE_RESULT
    message = f"{reason}: a paid result was lost; {BY_HAND}"
    return claim, Lost("RESULT_EXPIRED", message, gone=gone, again=again)
