"""The bytes of a paid result: fetched, checked, saved in time, and kept even if they are not as ordered."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import httpx

from cutout.endpoint.endpoint_errors import (
    FoundFile,
    ResultDamaged,
    ResultError,
    ResultUrlRefused,
    ResultWrong,
)
from cutout.endpoint.result import MAX_RESULT_BYTES
from cutout.endpoint.result_check import CutoutImage, check_result
from cutout.network import Blob
from cutout.queue.attempts.unsaved_results import Failure
from cutout.queue.claims import Claim, PaidResult
from cutout.storage import ObjectMissingError, ObjectTooLargeError
from cutout.storage.unexpected_bytes import Unexpected, unexpected_key
from cutout.text import cut
from worker.lifeboat import LifeboatError
from worker.pipeline.context import WorkerContext
from worker.signed_objects import read_object

log = logging.getLogger(__name__)

SHORTEST_DELAY_S = 0.2


def fetch(context: WorkerContext, claim: Claim, result: PaidResult) -> tuple[CutoutImage, bool]:
    """Fetch and check the result; True beside it if it came from the lifeboat, where it is read first.

    Raises ResultError, with the bytes if any came; or LifeboatError if the result was saved and neither the
    lifeboat nor the URL gives it.
    """
    if result.lifeboat_key is None:
        return _from_url(context, claim, result), False
    try:
        return _from_lifeboat(context, claim, result, result.lifeboat_key), True
    except LifeboatError as error:
        log.error("the saved result of job %s cannot be had: %s", claim.job_id, error)  # noqa: TRY400
        try:
            return _from_url(context, claim, result), False
        except ResultError:
            # Nothing is lost: the lifeboat may come back, or another worker may have it.
            raise error from None


def read_accepted(context: WorkerContext, found: Unexpected) -> CutoutImage:
    """Read the unexpected result that a person has accepted. Raises StorageError, also if it has changed."""
    try:
        data = read_object(context.bucket, found.key, Path(context.settings.spool_dir))
    except OSError as error:
        room = f"{found.key} finds no room in CUTOUT_SPOOL_DIR ({error.strerror}): make room there"
        raise ObjectTooLargeError(room) from error
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise ObjectMissingError(f"{found.key} is not the object any more that was stored")
    if found.width is None or found.height is None:
        raise ObjectMissingError(f"{found.key} is no picture")
    warning = cut(f"accepted by a person: {found.reason}")
    return CutoutImage(data, found.media_type, found.extension, found.width, found.height, warning)


def next_try_within(context: WorkerContext, claim: Claim) -> float | None:
    """Seconds within which the copy must be tried again; None if the time does not matter.

    Until the lifeboat is due, that is the time left until then; afterwards a quarter of what remains. It does
    not matter for a result that is in the lifeboat, or that has expired.
    """
    result = claim.result
    if result is None or result.lifeboat_key is not None:
        return None
    left = context.store.seconds_left(result)
    if left <= 0:
        return None
    until_due = left - context.settings.lifeboat_seconds
    return max(until_due if until_due > 0 else left / 4, SHORTEST_DELAY_S)


def save(context: WorkerContext, claim: Claim, data: Blob) -> Claim:
    """Save the bytes in the lifeboat, if there is one, then record that. Raises LifeboatError."""
    if context.lifeboat is None:
        return claim
    context.lifeboat.save(str(claim.job_id), data)
    log.warning("the result of job %s is saved in the lifeboat %s", claim.job_id, context.lifeboat)
    return _record_saved(context, claim)


def find_unrecorded(context: WorkerContext, claim: Claim, result: PaidResult) -> Claim | None:
    """Find a result in the lifeboat that was saved and not recorded, and record it; None if there is none.

    A worker may have died between the two steps. Raises LifeboatError if the lifeboat cannot be read.
    """
    if context.lifeboat is None:
        return None
    data = context.lifeboat.read(str(claim.job_id), max_bytes=MAX_RESULT_BYTES)
    if data is None:
        return None
    try:
        _check(claim, result, data)
    except ResultWrong:
        pass  # A person decides on it: it was paid for.
    except ResultError as error:
        log.error("the lifeboat has job %s, but not its result: %s", claim.job_id, error)  # noqa: TRY400
        return None
    return _record_saved(context, claim)


def _record_saved(context: WorkerContext, claim: Claim) -> Claim:
    return context.store.save_in_lifeboat(claim, str(claim.job_id))


def forget_saved(context: WorkerContext, claim: Claim) -> None:
    """Remove a result from the lifeboat that is stored in the bucket. The next start sweeps what stays."""
    key = claim.result.lifeboat_key if claim.result else None
    if key is None or context.lifeboat is None:
        return
    try:
        context.lifeboat.remove(key)
    except LifeboatError as error:
        log.warning("the result of job %s is stored and stays in the lifeboat too: %s", claim.job_id, error)


def keep_unexpected(
    context: WorkerContext, claim: Claim, found: FoundFile, reason: str
) -> tuple[Claim, Unexpected]:
    """Store bytes that are not as ordered under a key of their own, record it, clear the lifeboat.

    The same bytes are stored once, however often they come. Raises StorageError.
    """
    sha256 = hashlib.sha256(found.data).hexdigest()
    before = claim.unexpected
    kept = before
    if kept is None or kept.sha256 != sha256:
        kept = _store_unexpected(context, claim, found, sha256, reason)
    looks = (before.looks if before else 0) + 1
    kept = replace(kept, reason=cut(reason) or "", looks=looks, accepted=False)
    written = context.store.save_unexpected(claim, kept)
    forget_saved(context, claim)
    return written, kept


def _from_url(context: WorkerContext, claim: Claim, result: PaidResult) -> CutoutImage:
    try:
        return _check(claim, result, context.results.download(result.url))
    except ResultError as error:
        _count_failure(context, claim, result, error)
        raise


def _from_lifeboat(context: WorkerContext, claim: Claim, result: PaidResult, key: str) -> CutoutImage:
    lifeboat = context.lifeboat
    if lifeboat is None:
        raise LifeboatError("the result is in a lifeboat, and this worker has no CUTOUT_LIFEBOAT_DIR")
    data = lifeboat.read(key, max_bytes=MAX_RESULT_BYTES)
    if data is None:
        raise LifeboatError(f"the lifeboat {lifeboat} has no {key}; all workers must share one lifeboat")
    try:
        return _check(claim, result, data)
    except ResultWrong as error:
        error.saved = True
        raise
    except ResultError as error:
        raise LifeboatError(f"the lifeboat {lifeboat} has {key} damaged: {error}") from error


def _check(claim: Claim, result: PaidResult, data: Blob) -> CutoutImage:
    try:
        return check_result(data, claim.bought_form, result.sent_width, result.sent_height)
    except ResultError:
        raise
    except Exception as error:
        # A bug of ours must not cost the bytes: they are paid for.
        log.exception("the result of job %s cannot be checked", claim.job_id)
        raise ResultDamaged(f"it cannot be checked: {type(error).__name__}", FoundFile(data)) from error


def _count_failure(context: WorkerContext, claim: Claim, result: PaidResult, error: ResultError) -> None:
    """Record that this result could not be fetched, or is not as ordered: a run of these stops new calls."""
    failure = Failure(httpx.URL(result.url).host, _code(error), str(error))
    if context.store.count_failed_result(claim.job_id, result.expires_at, failure):
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


def _store_unexpected(
    context: WorkerContext, claim: Claim, found: FoundFile, sha256: str, reason: str
) -> Unexpected:
    key = unexpected_key(claim.job_id, sha256, found.extension)
    metadata = {
        "job": str(claim.job_id),
        "fence": str(claim.fence),
        "form": claim.bought_form,
        "reason": _as_header(reason),
    }
    context.objects.put_cutout(found.data, key=key, media_type=found.media_type, metadata=metadata)
    log.warning("what came for the paid call of job %s is kept as %s", claim.job_id, key)
    return Unexpected(
        key=key,
        reason=cut(reason) or "",
        sha256=sha256,
        media_type=found.media_type,
        extension=found.extension,
        size_bytes=len(found.data),
        width=found.width,
        height=found.height,
    )


def _as_header(reason: str) -> str:
    """The reason in the form that S3 metadata allows: ASCII on one line."""
    return " ".join((cut(reason) or "").encode("ascii", "replace").decode().split())
