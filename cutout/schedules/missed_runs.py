"""Due and missed runs of a schedule, and the policy that decides which of them fire."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cutout.enums import CatchUp
from cutout.schedules.cron import Cron

SKIPPED = "it was skipped at a person's request"
# A schedule of every second that missed a day catches up in a minute, without delaying other schedules.
MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The times when a schedule fires, and its policy for runs that could not fire in time.

    The run of `skips_at` does not start: somebody asked for that.
    """

    schedule_id: uuid.UUID
    cron: Cron
    jitter_seconds: int
    grace_seconds: int
    catch_up: CatchUp
    skips_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """A run to be inserted; `skipped` is the reason why it will not start, if any."""

    fire_at: datetime
    due_at: datetime
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class DueRuns:
    """Due runs of a schedule, the earliest first, and the next run after them.

    Without a next run the schedule never fires again. `seen` counts the due runs.
    """

    fires: list[Firing]
    next: Firing | None
    seen: int = 1


def find_due_runs(recurrence: Recurrence, first: datetime, now: datetime) -> DueRuns:
    """The runs from `first` on that are due at `now`, at most MOST_AT_ONCE.

    A run within its grace fires. Of the missed ones the policy fires all, none, or the latest; the latest
    only if no later run is due.
    """
    due: list[Firing] = []
    upcoming: Firing | None = None
    for upcoming in _runs(recurrence, first):
        if upcoming.due_at > now or len(due) == MOST_AT_ONCE:
            break
        due.append(upcoming)
    else:
        upcoming = None
    seen = len(due)
    by_hand = [replace(run, skipped=SKIPPED) for run in due if run.fire_at == recurrence.skips_at]
    due = [run for run in due if run.fire_at != recurrence.skips_at]
    missed_before = now - timedelta(seconds=recurrence.grace_seconds)
    more_is_due = upcoming is not None and upcoming.due_at <= now
    missed = [run for run in due if run.due_at < missed_before]
    if recurrence.catch_up is CatchUp.ALL or not missed:
        return DueRuns([*by_hand, *due], upcoming, seen)
    kept = due[len(missed) :]
    if recurrence.catch_up is CatchUp.LATEST and not kept and not more_is_due:
        kept = [missed.pop()]
    return DueRuns([*by_hand, *_skipped(missed, recurrence), *kept], upcoming, seen)


def _runs(recurrence: Recurrence, first: datetime) -> Iterator[Firing]:
    yield _run(recurrence, first)
    for fire_at in recurrence.cron.after(first):
        yield _run(recurrence, fire_at)


def _run(recurrence: Recurrence, fire_at: datetime) -> Firing:
    return Firing(fire_at, due_at(recurrence.schedule_id, fire_at, recurrence.jitter_seconds))


def _skipped(missed: list[Firing], recurrence: Recurrence) -> Iterator[Firing]:
    """One skipped run that stands for all missed ones: nobody reads 86,400 rows."""
    if missed:
        first, latest = missed[0], missed[-1]
        count = f"{len(missed)} runs up to {latest.fire_at:%Y-%m-%d %H:%M:%S} UTC" if missed[1:] else "it"
        yield Firing(
            first.fire_at,
            first.due_at,
            f"{count} could not fire within {recurrence.grace_seconds} s; catch-up is {recurrence.catch_up}",
        )


def due_at(schedule_id: uuid.UUID, fire_at: datetime, jitter_seconds: int) -> datetime:
    """`fire_at` plus up to `jitter_seconds`, to a millisecond; always the same for one run."""
    if not jitter_seconds:
        return fire_at
    seed = schedule_id.bytes + fire_at.astimezone(UTC).isoformat().encode()
    number = int.from_bytes(hashlib.sha256(seed).digest()[:8])
    return fire_at + timedelta(milliseconds=number % (jitter_seconds * 1000 + 1))
