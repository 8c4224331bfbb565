"""A picture that was bought before is served from what is stored, if the bucket still holds it as it was."""

import logging
from functools import partial

from jobs import store
from jobs.outcomes import Outcome, Snooze, StoredObject, Succeeded
from jobs.storage import StorageError
from jobs.store import Claim, Making, Mine, Theirs
from worker.context import WorkerContext
from worker.endpoint.client import CUT_OUT_PATH
from worker.endpoint.image import PREPARATION

log = logging.getLogger(__name__)

MAKING = Making(CUT_OUT_PATH, PREPARATION)
TWIN_SNOOZE_S = 3.0
STORAGE_AWAY_SNOOZE_S = 15.0


def served(context: WorkerContext, claim: Claim, sha256: bytes) -> Outcome | None:
    """What became of the job without a call: its cutout is there, or another job buys it. None: buy it."""
    found = context.patiently(partial(store.take_result, claim=claim, sha256=sha256, making=MAKING))
    match found:
        case Mine():
            return None
        case Theirs():
            return Snooze("TWIN_IS_BOUGHT", "another job buys the cutout of the same picture", TWIN_SNOOZE_S)
        case StoredObject():
            return _handed_over(context, claim, sha256, found)


def is_held(context: WorkerContext, stored: StoredObject) -> bool | Snooze:
    """Whether the bucket holds a cutout as it was stored, or that it cannot be asked now."""
    try:
        held = context.objects.holds(stored)
    except StorageError as error:
        context.bucket_watch.suspect(error)
        return Snooze("STORAGE_AWAY", str(error), STORAGE_AWAY_SNOOZE_S)
    if not held:
        log.warning("the bucket does not hold %s any more as it was stored: it is bought again", stored.key)
    return held


def _handed_over(context: WorkerContext, claim: Claim, sha256: bytes, stored: StoredObject) -> Outcome | None:
    held = is_held(context, stored)
    if isinstance(held, Snooze):
        return held
    if held:
        return Succeeded(stored, reused=True)
    disown = partial(store.disown_result, claim=claim, sha256=sha256, making=MAKING, broken=stored)
    if context.patiently(disown):
        return None
    return Snooze("TWIN_IS_BOUGHT", "another job buys the same cutout anew", TWIN_SNOOZE_S)
