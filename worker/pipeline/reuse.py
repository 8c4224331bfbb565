"""A picture that was bought before is served from what is stored, if the bucket still holds it as it was."""

import logging

from cutout.queue.attempts.outcomes import Outcome, Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.reuse.acquire import Acquired, BoughtBefore, TakenByOther
from cutout.storage import ObjectMissingError, StorageError
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy_for_producer import OfAJob, copied

log = logging.getLogger(__name__)

# Asked again at once: its claim was lost, or another job has just begun to buy it anew.
TWIN_SNOOZE_S = 1.0
STORAGE_AWAY_SNOOZE_S = 15.0


def served(context: WorkerContext, claim: Claim, sha256: bytes) -> Outcome | Acquired:
    """What became of the job without a call: its cutout is there, or another job buys it. Acquired: buy it."""
    recipe = context.making_for(claim.producer_id)
    found = context.store.acquire_result(claim, sha256, recipe)
    match found:
        case Acquired():
            return found
        case TakenByOther(buyer):
            words = "another job buys the cutout of the same picture"
            return Snooze("TWIN_IS_BOUGHT", words, TWIN_SNOOZE_S, waits_for=buyer)
        case BoughtBefore():
            # Made from the same bytes by another preparation, it may be there all the same.
            return _handed_over(context, claim, sha256, found) or Acquired(made_otherwise=True)


def served_as_sent(context: WorkerContext, claim: Claim, sha256: bytes, sent_sha256: bytes) -> Outcome | None:
    """What became of a job whose picture another preparation made into the same bytes. None: buy it."""
    recipe = context.making_for(claim.producer_id)
    found = context.store.find_made_otherwise(claim, sha256, recipe, sent_sha256=sent_sha256)
    if found is None:
        return None
    outcome = _handed_over(context, claim, sha256, found)
    if isinstance(outcome, Succeeded):
        context.store.adopt_result(claim, sha256, recipe, outcome.stored, sent_sha256=sent_sha256)
    return outcome


def is_held(context: WorkerContext, stored: StoredObject, *, is_own: bool = True) -> bool | Snooze:
    """Whether the bucket holds a cutout as it was stored, or that it cannot be asked now.

    Of one that is not the producer's own the job is told no key.
    """
    try:
        held = context.objects.holds(stored)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        words = str(error) if is_own else f"the bucket was not asked for a cutout ({type(error).__name__})"
        return Snooze("STORAGE_AWAY", words, STORAGE_AWAY_SNOOZE_S)
    if not held:
        log.warning("the bucket does not hold %s any more as it was stored", stored.key)
    return held


def copy_of(context: WorkerContext, job: OfAJob, stored: StoredObject) -> StoredObject | Snooze:
    """A copy under the job's own key of what another producer bought, or that there can be none now."""
    try:
        return copied(context, job, stored)
    except ObjectMissingError:
        # Deleted since it was seen: the next look finds that, and another result or none.
        return Snooze("TWIN_IS_BOUGHT", "the cutout of the same picture is being deleted", TWIN_SNOOZE_S)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        # Its words name an object of another producer.
        words = f"the bucket did not copy a cutout ({type(error).__name__})"
        return Snooze("STORAGE_AWAY", words, STORAGE_AWAY_SNOOZE_S)


def _handed_over(context: WorkerContext, claim: Claim, sha256: bytes, found: BoughtBefore) -> Outcome | None:
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
