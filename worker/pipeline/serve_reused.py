"""The task for a message of jobs whose cutouts were bought before: each is checked, then all end at once."""

import logging
import uuid
from dataclasses import replace

from cutout.models.database import PostgresAwayError
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.reuse.serve_reused import Dispatched, ReusableJob, ReuseScope
from worker.metrics import served
from worker.pipeline.context import WorkerContext
from worker.pipeline.reuse import copy_of, is_held

log = logging.getLogger(__name__)


def complete_reused(context: WorkerContext, dispatched: Dispatched) -> None:
    """End the jobs whose cutouts the bucket still holds as they were stored; requeue the others.

    A message that is late or repeated changes nothing.
    """
    reuse_scope = ReuseScope(context.recipe, context.settings.reuse)
    try:
        found = context.store.find_bought(dispatched, reuse_scope)
        intact, unreachable, delayed = _check(context, found, reuse_scope)
        done = context.store.complete_reused(intact, reuse_scope) if intact else 0
        served(done)
        for job, why in delayed:
            context.store.delay([job], why)
        if unreachable:
            context.store.delay(dispatched, unreachable)
        elif done + len(delayed) < len(dispatched):
            context.store.requeue(dispatched)
    except PostgresAwayError as error:
        log.warning("%d jobs are left until their lease is over: %s", len(dispatched), error)


_Delayed = list[tuple[tuple[uuid.UUID, int], Snooze]]


def _check(
    context: WorkerContext, found: list[ReusableJob], reuse_scope: ReuseScope
) -> tuple[list[ReusableJob], Snooze | None, _Delayed]:
    """The jobs with intact cutouts, a Snooze if the bucket became unreachable, and the jobs to delay."""
    intact: list[ReusableJob] = []
    delayed: _Delayed = []
    for each in found:
        if context.stopping.is_set():
            break
        held = is_held(context, each.stored, is_own=each.is_own)
        if isinstance(held, Snooze):
            return intact, held, delayed
        if held:
            if each.missed:
                context.store.find_it_again(each, reuse_scope)
            mine = each if each.is_own else _copied(context, each)
            if isinstance(mine, Snooze):
                delayed.append(((each.job_id, each.fence), mine))
            else:
                intact.append(mine)
            continue
        wait = context.store.miss(each, reuse_scope)
        if wait:
            delayed.append(((each.job_id, each.fence), wait))
    return intact, None, delayed


def _copied(context: WorkerContext, bought: ReusableJob) -> ReusableJob | Snooze:
    stored = copy_of(context, bought, bought.stored)
    return stored if isinstance(stored, Snooze) else replace(bought, copied_to=stored.key)
