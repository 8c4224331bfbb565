"""Which runs a schedule fires when it is looked at: what is due, and what it missed."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cutout.enums import CatchUp
from cutout.schedules.cron import Cron

# A schedule of every second that missed a day is through it in a minute, and keeps no other waiting.
MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a schedule fires, and what it does about runs that it could not fire in time."""

    schedule_id: uuid.UUID
    cron: Cron
    jitter_seconds: int
    grace_seconds: int
    catch_up: CatchUp


@dataclass(frozen=True, slots=True)
class Fire:
    """A run to be: `skipped` says why it is not to begin."""

    fire_at: datetime
    due_at: datetime
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a schedule found: runs, the earliest first, and the next one after them.

    Without a next one the schedule never fires again. `seen` counts the runs that were due.
    """

    fires: list[Fire]
    next: Fire | None
    seen: int = 1


def look(rhythm: Rhythm, first: datetime, now: datetime) -> Look:
    """The runs from `first` on that are due at `now`, at most MOST_AT_ONCE of them.

    Within its grace each fires. Of those that missed theirs the policy fires all, none, or the latest one,
    and that only if none after it is due.
    """
    due: list[Fire] = []
    upcoming: Fire | None = None
    for upcoming in _runs(rhythm, first):
        if upcoming.due_at > now or len(due) == MOST_AT_ONCE:
            break
        due.append(upcoming)
    else:
        upcoming = None
    missed_before = now - timedelta(seconds=rhythm.grace_seconds)
    more_is_due = upcoming is not None and upcoming.due_at <= now
    missed = [run for run in due if run.due_at < missed_before]
    if rhythm.catch_up is CatchUp.ALL or not missed:
        return Look(due, upcoming, len(due))
    kept = due[len(missed) :]
    seen = len(due)
    if rhythm.catch_up is CatchUp.LATEST and not kept and not more_is_due:
        kept = [missed.pop()]
    return Look([*_skipped(missed, rhythm), *kept], upcoming, seen)


def _runs(rhythm: Rhythm, first: datetime) -> Iterator[Fire]:
    yield _run(rhythm, first)
    for fire_at in rhythm.cron.after(first):
        yield _run(rhythm, fire_at)


def _run(rhythm: Rhythm, fire_at: datetime) -> Fire:
    return Fire(fire_at, due_at(rhythm.schedule_id, fire_at, rhythm.jitter_seconds))


def _skipped(missed: list[Fire], rhythm: Rhythm) -> Iterator[Fire]:
    """One row stands for all of one look: nobody reads 86,400 of them."""
    if missed:
        first, latest = missed[0], missed[-1]
        count = f"{len(missed)} runs up to {latest.fire_at:%Y-%m-%d %H:%M:%S} UTC" if missed[1:] else "it"
        yield Fire(
            first.fire_at,
            first.due_at,
            f"{count} could not fire within {rhythm.grace_seconds} s; catch-up is {rhythm.catch_up}",
        )


def due_at(schedule_id: uuid.UUID, fire_at: datetime, jitter_seconds: int) -> datetime:
    """`fire_at` and up to `jitter_seconds` more, to a millisecond; always the same for a run."""
    if not jitter_seconds:
        return fire_at
    named = schedule_id.bytes + fire_at.astimezone(UTC).isoformat().encode()
    drawn = int.from_bytes(hashlib.sha256(named).digest()[:8])
    return fire_at + timedelta(milliseconds=drawn % (jitter_seconds * 1000 + 1))
