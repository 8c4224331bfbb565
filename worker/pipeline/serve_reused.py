"""The task for a message of jobs whose cutouts were bought before: all that are confirmed end at once."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cutout.models.database import PostgresAwayError
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.reuse.serve_reused import MESSAGES_BUSY, Dispatched, ReusableJob, ReuseScope
from worker.metrics import served
from worker.pipeline.context import WorkerContext
from worker.pipeline.listed_cutouts import WantedCutout
from worker.pipeline.reuse import copy_of, is_held
from worker.pipeline.sources import BUSY_SNOOZE_S, SourceBusyError
from worker.pipeline.unchanged_sources import unchanged_of

log = logging.getLogger(__name__)

T = TypeVar("T")

# Once the bucket is unreachable, or this worker stops, no more than these are asked in vain.
AT_ONCE = 32
OTHERS_ASK = "too many messages are asking servers whether sources are unchanged"


def complete_reused(context: WorkerContext, dispatched: Dispatched) -> None:
    """End the jobs whose cutouts the bucket still holds as they were stored; requeue the others.

    A message that is late or repeated changes nothing.
    """
    reuse_scope = ReuseScope(context.recipe, context.settings.reuse)
    try:
        found = context.store.find_bought(dispatched, reuse_scope)
        # First: a server on the web may be slow.
        known = [each for each in found if each.address is None]
        remembered = [each for each in found if each.address is not None]
        ended = _end(context, known, reuse_scope)
        if remembered:
            ended += _end_unchanged(context, remembered, reuse_scope)
        if ended < len(dispatched):
            context.store.requeue(dispatched)
    except PostgresAwayError as error:
        log.warning("%d jobs are left until their lease is over: %s", len(dispatched), error)


def _end_unchanged(context: WorkerContext, found: list[ReusableJob], reuse_scope: ReuseScope) -> int:
    """End these jobs if their source is unchanged, and let the others fetch it; returns how many ended."""
    ids = [(each.job_id, each.fence) for each in found]
    try:
        unchanged = unchanged_of(context, found)
    except SourceBusyError:
        context.store.delay(ids, Snooze(MESSAGES_BUSY, OTHERS_ASK, BUSY_SNOOZE_S))
        return len(found)
    ended = _end(context, unchanged, reuse_scope)
    if not context.stopping.is_set():
        context.store.fetch_sources(ids)
    return ended


def _end(context: WorkerContext, found: list[ReusableJob], reuse_scope: ReuseScope) -> int:
    """End or delay these jobs, as far as the bucket answers; returns how many."""
    if not found:
        return 0
    checked = _check(context, found, reuse_scope)
    done = context.store.complete_reused(checked.intact, reuse_scope) if checked.intact else 0
    served(done)
    for job, why in checked.delayed:
        context.store.delay([(job.job_id, job.fence)], why)
    if checked.unreachable:
        context.store.delay([(each.job_id, each.fence) for each in found], checked.unreachable)
        return len(found)
    return done + len(checked.delayed)


@dataclass(slots=True)
class _Checked:
    """Jobs whose cutouts are intact, jobs to delay, and a Snooze for all others if the bucket is away."""

    intact: list[ReusableJob] = field(default_factory=list)
    delayed: list[tuple[ReusableJob, Snooze]] = field(default_factory=list)
    unreachable: Snooze | None = None


def _check(context: WorkerContext, found: list[ReusableJob], reuse_scope: ReuseScope) -> _Checked:
    checked = _Checked()
    held = _listed(context, found)
    asked = [each for each in found if each.job_id not in held]
    for each, answer in _ask(context, asked):
        if isinstance(answer, Snooze):
            checked.unreachable = answer
            break
        if answer:
            if each.missed:
                context.store.find_it_again(each, reuse_scope)
            held.add(each.job_id)
        else:
            context.listed.forget(each.stored.key)
            if wait := context.store.miss(each, reuse_scope):
                checked.delayed.append((each, wait))
    intact = [each for each in found if each.job_id in held and not context.stopping.is_set()]
    checked.intact += [each for each in intact if each.is_own]
    if checked.unreachable is None:
        _copy(context, [each for each in intact if not each.is_own], checked)
    return checked


def _listed(context: WorkerContext, found: list[ReusableJob]) -> set[uuid.UUID]:
    """The jobs whose cutouts a listing shows; none that was seen missing."""
    by_owner: defaultdict[uuid.UUID | None, list[ReusableJob]] = defaultdict(list)
    for each in found:
        if not each.missed:
            by_owner[each.producer_id].append(each)
    listed: set[uuid.UUID] = set()
    for owner, jobs in by_owner.items():
        if context.stopping.is_set():
            break
        wanted = (WantedCutout(each.stored.key, each.stored.size_bytes, each.stored_at) for each in jobs)
        keys = context.listed.confirm(wanted, owner)
        listed.update(each.job_id for each in jobs if each.stored.key in keys)
    return listed


def _ask(context: WorkerContext, jobs: list[ReusableJob]) -> Iterator[tuple[ReusableJob, bool | Snooze]]:
    """Ask the bucket for the cutouts of these jobs, each once; ends early if this worker stops."""
    by_key: defaultdict[str, list[ReusableJob]] = defaultdict(list)
    for each in jobs:
        by_key[each.stored.key].append(each)
    for some in _some_of(list(by_key.values())):
        if context.stopping.is_set():
            return
        held = context.checks.map(lambda its: is_held(context, its[0].stored, is_own=its[0].is_own), some)
        for its_jobs, answer in zip(some, held, strict=True):
            yield from ((each, answer) for each in its_jobs)


def _copy(context: WorkerContext, jobs: list[ReusableJob], checked: _Checked) -> None:
    """Copy cutouts that another producer bought, unless this worker stops."""
    for some in _some_of(jobs):
        if context.stopping.is_set():
            return
        copies = context.checks.map(lambda each: copy_of(context, each, each.stored), some)
        for each, stored in zip(some, copies, strict=True):
            if isinstance(stored, Snooze):
                checked.delayed.append((each, stored))
            else:
                checked.intact.append(replace(each, copied_to=stored.key))


def _some_of(whole: list[T]) -> Iterator[list[T]]:
    for begin in range(0, len(whole), AT_ONCE):
        yield whole[begin : begin + AT_ONCE]
