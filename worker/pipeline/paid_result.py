"""The paid result's bytes: fetched from where they are, saved where they last."""

import hashlib
import logging
from functools import partial
from pathlib import Path

from cutout import queue
from cutout.endpoint.endpoint_errors import FoundFile, ResultDamaged, ResultError, ResultWrong
from cutout.endpoint.result import MAX_RESULT_BYTES
from cutout.endpoint.result_check import CutoutImage, check_result
from cutout.network import Blob
from cutout.queue.claims import Claim, PaidResult
from cutout.storage import ObjectMissingError, ObjectTooLargeError
from cutout.storage.unexpected_bytes import Unexpected
from cutout.text import cut
from worker.lifeboat import LifeboatError
from worker.pipeline.context import WorkerContext
from worker.pipeline.fetch_failures import count_failure
from worker.signed_objects import read_object

log = logging.getLogger(__name__)


def fetch(context: WorkerContext, claim: Claim, result: PaidResult) -> tuple[CutoutImage, bool]:
    """The checked result, and whether it came from the lifeboat: so it does if it was saved there.

    Raises ResultError, with what came if anything did; or LifeboatError if it was saved and neither the
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
    """The unexpected result that a person has accepted. Raises StorageError, also if it is not as it was."""
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


def save(context: WorkerContext, claim: Claim, data: Blob) -> Claim:
    """Into the lifeboat, if there is one: first the bytes, then the word of it. Raises LifeboatError."""
    if context.lifeboat is None:
        return claim
    context.lifeboat.save(str(claim.job_id), data)
    log.warning("the result of job %s is saved in the lifeboat %s", claim.job_id, context.lifeboat)
    return _write_down(context, claim)


def find_unwritten(context: WorkerContext, claim: Claim, result: PaidResult) -> Claim | None:
    """Look in the lifeboat for a result that no word was written of, and write it now; None if there is none.

    A worker may have died between the two. Raises LifeboatError if the lifeboat cannot be asked.
    """
    if context.lifeboat is None:
        return None
    data = context.lifeboat.read(str(claim.job_id), max_bytes=MAX_RESULT_BYTES)
    if data is None:
        return None
    try:
        _check(claim, result, data)
    except ResultWrong:
        pass  # that is for a person to see: it is what was paid for
    except ResultError as error:
        log.error("the lifeboat has job %s, but not its result: %s", claim.job_id, error)  # noqa: TRY400
        return None
    return _write_down(context, claim)


def forget(context: WorkerContext, claim: Claim) -> None:
    """Remove what the lifeboat holds for a job that has succeeded. What stays, the next start sweeps."""
    key = claim.result.lifeboat_key if claim.result else None
    if key is None or context.lifeboat is None:
        return
    try:
        context.lifeboat.remove(key)
    except LifeboatError as error:
        log.warning("the result of job %s is stored and stays in the lifeboat too: %s", claim.job_id, error)


def _from_url(context: WorkerContext, claim: Claim, result: PaidResult) -> CutoutImage:
    try:
        return _check(claim, result, context.results.download(result.url))
    except ResultError as error:
        count_failure(context, claim, result, error)
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
        return check_result(data, claim.return_form, result.sent_width, result.sent_height)
    except ResultError:
        raise
    except Exception as error:
        # Whatever a bug of ours makes of the bytes, they are paid for.
        log.exception("the result of job %s cannot be judged", claim.job_id)
        raise ResultDamaged(f"it cannot be judged: {type(error).__name__}", FoundFile(data)) from error


def _write_down(context: WorkerContext, claim: Claim) -> Claim:
    return context.patiently(partial(queue.save_in_lifeboat, claim=claim, key=str(claim.job_id)))
