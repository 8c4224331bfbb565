"""Types of the auditor: a check, its scope and its findings."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cutout.models.database import Database
from cutout.queue.settle import RetryLimits

# Per run of a check: a fault that affects more rows is repaired in several runs.
MOST_FOUND = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that does not agree with another: `subject` is job, batch or attempt, `id` the row's id.

    `text` says what is wrong, `remedy` what a person can do about it.
    """

    subject: str
    id: uuid.UUID | int
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Scope of a check: everything, or one job and its batch."""

    job_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None


EVERYTHING = Scope()

Find = Callable[[Database, Scope], Sequence[Finding]]
"""Finds at most MOST_FOUND rows that do not agree; its cost does not grow with the number of ended jobs."""
Repair = Callable[[Database, Sequence[Finding], RetryLimits], int]
"""Repairs the rows that still do not agree; returns their number. Safe to repeat and to run beside other
changes of the same rows: each statement tests its condition again under the row's lock."""


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """A check, run every `every_s` seconds; `name` is a metric's label. Without `repair` a person must act.

    A finding counts once a second run at least `confirmed_after_s` later finds it too: at the first one the
    dispatcher may just be about to correct it.
    """

    name: str
    description: str
    find: Find
    repair: Repair | None = None
    every_s: float = field(default=60.0)
    confirmed_after_s: float = 0.0
