"""A parcel of jobs whose cutouts were bought before: the bucket is asked for each, then all end at once."""

import logging
import uuid
from dataclasses import replace
from functools import partial

from cutout import queue
from cutout.models.database import PostgresAwayError
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.reuse.serve_reused import Bought, HandedOut, Shelf
from worker.metrics import served
from worker.pipeline.context import WorkerContext
from worker.pipeline.reuse import copy_of, is_held

log = logging.getLogger(__name__)


def serve(context: WorkerContext, handed_out: HandedOut) -> None:
    """End the jobs whose cutouts the bucket still holds as they were stored; the others go back in line.

    A message that is late or repeated finds nothing to do.
    """
    shelf = Shelf(context.making, context.settings.reuse)
    try:
        found = context.patiently(partial(queue.find_bought, handed_out=handed_out, shelf=shelf))
        intact, away, waiting = _look(context, found, shelf)
        done = context.patiently(partial(queue.serve, served=intact, shelf=shelf)) if intact else 0
        served(done)
        for job, why in waiting:
            context.patiently(partial(queue.put_off, handed_out=[job], why=why))
        if away:
            context.patiently(partial(queue.put_off, handed_out=handed_out, why=away))
        elif done + len(waiting) < len(handed_out):
            context.patiently(partial(queue.put_back, handed_out=handed_out))
    except PostgresAwayError as error:
        log.warning("%d jobs are left until their lease is over: %s", len(handed_out), error)


_Waiting = list[tuple[tuple[uuid.UUID, int], Snooze]]


def _look(
    context: WorkerContext, found: list[Bought], shelf: Shelf
) -> tuple[list[Bought], Snooze | None, _Waiting]:
    """Those whose cutouts are intact, why the bucket could not be asked any further, and what is missing."""
    intact: list[Bought] = []
    waiting: _Waiting = []
    for each in found:
        if context.stopping.is_set():
            break
        held = is_held(context, each.stored, is_own=each.is_own)
        if isinstance(held, Snooze):
            return intact, held, waiting
        if held:
            if each.missed:
                context.patiently(partial(queue.find_it_again, found=each, shelf=shelf))
            mine = each if each.is_own else _copied(context, each)
            if isinstance(mine, Snooze):
                waiting.append(((each.job_id, each.fence), mine))
            else:
                intact.append(mine)
            continue
        wait = context.patiently(partial(queue.miss, broken=each, shelf=shelf))
        if wait:
            waiting.append(((each.job_id, each.fence), wait))
    return intact, None, waiting


def _copied(context: WorkerContext, bought: Bought) -> Bought | Snooze:
    stored = copy_of(context, bought, bought.stored)
    return stored if isinstance(stored, Snooze) else replace(bought, copied_to=stored.key)
