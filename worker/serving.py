"""A parcel of jobs whose cutouts were bought before: the bucket is asked for each, then all end at once."""

import logging
from functools import partial

from jobs import store
from jobs.database import PostgresAwayError
from jobs.outcomes import Snooze
from jobs.store import Bought, HandedOut, Shelf
from worker.context import WorkerContext
from worker.metrics import served
from worker.reuse import MAKING, is_held

log = logging.getLogger(__name__)


def serve(context: WorkerContext, handed_out: HandedOut) -> None:
    """End the jobs whose cutouts the bucket still holds as they were stored; the others go back in line.

    A message that is late or repeated finds nothing to do.
    """
    shelf = Shelf(MAKING, context.bucket.name)
    try:
        found = context.patiently(partial(store.find_bought, handed_out=handed_out, shelf=shelf))
        intact, away = _look(context, found, shelf)
        done = context.patiently(partial(store.serve, served=intact, shelf=shelf)) if intact else 0
        served(done)
        if away:
            context.patiently(partial(store.put_off, handed_out=handed_out, why=away))
        elif done < len(handed_out):
            context.patiently(partial(store.put_back, handed_out=handed_out))
    except PostgresAwayError as error:
        log.warning("%d jobs are left until their lease is over: %s", len(handed_out), error)


def _look(context: WorkerContext, found: list[Bought], shelf: Shelf) -> tuple[list[Bought], Snooze | None]:
    """Those whose cutouts are intact, and why the bucket could not be asked any further."""
    intact: list[Bought] = []
    for each in found:
        if context.stopping.is_set():
            break
        held = is_held(context, each.stored)
        if isinstance(held, Snooze):
            return intact, held
        if held:
            intact.append(each)
            continue
        context.patiently(partial(store.disown, broken=each, shelf=shelf))
    return intact, None
