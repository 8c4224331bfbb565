"""Reuse of cutouts bought before, if the bucket still holds them as they were stored."""

import logging

from cutout.queue.attempts.outcomes import Outcome, Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.reuse.acquire import Acquired, BoughtBefore, TakenByOther
from cutout.queue.reuse.identity import Recipe
from cutout.storage import ObjectMissingError, StorageError
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy_for_producer import CutoutOwner, copied

log = logging.getLogger(__name__)

# Tried again at once: its claim was lost, or another job has just begun to buy the cutout anew.
SAME_PICTURE_SNOOZE_S = 1.0
STORAGE_UNREACHABLE_SNOOZE_S = 15.0


def serve_or_acquire(
    context: WorkerContext, claim: Claim, sha256: bytes, recipe: Recipe
) -> Outcome | Acquired:
    """The job's outcome if its cutout was bought before or another job buys it; Acquired: buy it."""
    found = context.store.acquire_result(claim, sha256, recipe)
    match found:
        case Acquired():
            return found
        case TakenByOther(buyer):
            message = "another job buys the cutout of the same picture"
            return Snooze("TWIN_IS_BOUGHT", message, SAME_PICTURE_SNOOZE_S, waits_for=buyer)
        case BoughtBefore():
            # Another preparation may have made a cutout of the same bytes.
            return _serve(context, claim, sha256, found) or Acquired(made_otherwise=True)


def serve_as_sent(
    context: WorkerContext, claim: Claim, sha256: bytes, recipe: Recipe, sent_sha256: bytes
) -> Outcome | None:
    """The job's outcome if another preparation made its picture into the same bytes; None: buy it."""
    found = context.store.find_made_otherwise(claim, sha256, recipe, sent_sha256=sent_sha256)
    if found is None:
        return None
    outcome = _serve(context, claim, sha256, found)
    if isinstance(outcome, Succeeded):
        context.store.adopt_result(claim, sha256, recipe, outcome.stored, sent_sha256=sent_sha256)
    return outcome


def is_held(context: WorkerContext, stored: StoredObject, *, is_own: bool = True) -> bool | Snooze:
    """Whether the bucket holds a cutout as it was stored; a Snooze if the bucket cannot be reached.

    The message for a job that is not of the cutout's producer does not name its key.
    """
    try:
        held = context.objects.holds(stored)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        message = str(error) if is_own else f"the bucket was not asked for a cutout ({type(error).__name__})"
        return Snooze("STORAGE_AWAY", message, STORAGE_UNREACHABLE_SNOOZE_S)
    if not held:
        log.warning("the bucket does not hold %s any more as it was stored", stored.key)
    return held


def copy_of(context: WorkerContext, job: CutoutOwner, stored: StoredObject) -> StoredObject | Snooze:
    """A copy, under the job's own key, of a cutout that another producer bought; a Snooze if it fails."""
    try:
        return copied(context, job, stored)
    except ObjectMissingError:
        # Deleted meanwhile: the next try finds that, and another result or none.
        message = "the cutout of the same picture is being deleted"
        return Snooze("TWIN_IS_BOUGHT", message, SAME_PICTURE_SNOOZE_S)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        # The error's text names an object of another producer.
        message = f"the bucket did not copy a cutout ({type(error).__name__})"
        return Snooze("STORAGE_AWAY", message, STORAGE_UNREACHABLE_SNOOZE_S)


def _serve(context: WorkerContext, claim: Claim, sha256: bytes, found: BoughtBefore) -> Outcome | None:
    """The job's outcome with a cutout bought before; None if it must be bought anew."""
    held = is_held(context, found.stored, is_own=found.is_own)
    if isinstance(held, Snooze):
        return held
    if not held:
        return context.store.miss_result(claim, sha256, found)
    if found.missed:
        context.store.find_again(claim, sha256, found)
    if found.is_own:
        return Succeeded(found.stored, reused=True)
    stored = copy_of(context, claim, found.stored)
    if isinstance(stored, Snooze):
        return stored
    return Succeeded(stored, reused=True)
