"""A picture that was bought before is served from what is stored, if the bucket still holds it as it was."""

import logging
from functools import partial
from typing import Any

from jobs import store
from jobs.outcomes import Outcome, Snooze, StoredObject, Succeeded
from jobs.storage import StorageError
from jobs.store import BoughtBefore, Claim, Mine, Theirs
from worker.context import WorkerContext

log = logging.getLogger(__name__)

# Asked again at once: its claim was lost, or another job has just begun to buy it anew.
TWIN_SNOOZE_S = 1.0
STORAGE_AWAY_SNOOZE_S = 15.0


def served(context: WorkerContext, claim: Claim, sha256: bytes) -> Outcome | Mine:
    """What became of the job without a call: its cutout is there, or another job buys it. Mine: buy it."""
    found = context.patiently(partial(store.take_result, claim=claim, sha256=sha256, making=context.making))
    match found:
        case Mine():
            return found
        case Theirs(buyer):
            words = "another job buys the cutout of the same picture"
            return Snooze("TWIN_IS_BOUGHT", words, TWIN_SNOOZE_S, waits_for=buyer)
        case BoughtBefore():
            # Made from the same bytes by another preparation, it may be there all the same.
            return _handed_over(context, claim, sha256, found) or Mine(made_otherwise=True)


def served_as_sent(context: WorkerContext, claim: Claim, sha256: bytes, sent_sha256: bytes) -> Outcome | None:
    """What became of a job whose picture another preparation made into the same bytes. None: buy it."""
    of_it: dict[str, Any] = {"claim": claim, "sha256": sha256}
    of_it |= {"making": context.making, "sent_sha256": sent_sha256}
    found = context.patiently(partial(store.find_made_otherwise, **of_it))
    if found is None:
        return None
    outcome = _handed_over(context, claim, sha256, found)
    if isinstance(outcome, Succeeded):
        context.patiently(partial(store.adopt_result, found=found, **of_it))
    return outcome


def is_held(context: WorkerContext, stored: StoredObject) -> bool | Snooze:
    """Whether the bucket holds a cutout as it was stored, or that it cannot be asked now."""
    try:
        held = context.objects.holds(stored)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return Snooze("STORAGE_AWAY", str(error), STORAGE_AWAY_SNOOZE_S)
    if not held:
        log.warning("the bucket does not hold %s any more as it was stored", stored.key)
    return held


def _handed_over(context: WorkerContext, claim: Claim, sha256: bytes, found: BoughtBefore) -> Outcome | None:
    held = is_held(context, found.stored)
    if isinstance(held, Snooze):
        return held
    if not held:
        return context.patiently(partial(store.miss_result, claim=claim, sha256=sha256, broken=found))
    if found.missed:
        context.patiently(partial(store.find_again, claim=claim, sha256=sha256, found=found))
    return Succeeded(found.stored, reused=True)
