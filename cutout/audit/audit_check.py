"""What a check of the auditor is, and what it finds."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cutout.models.database import Database
from cutout.queue.settle import Bounds

# So many a look: a fault that struck more is repaired in as many looks as it takes.
MOST_FOUND = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that does not agree with another. `subject` names the table's noun, `id` the row.

    `text` says what is wrong, `remedy` what a person can do about it.
    """

    subject: str
    id: uuid.UUID | int
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at: everything, or one job and its batch."""

    job_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None


EVERYTHING = Scope()

Find = Callable[[Database, Scope], Sequence[Finding]]
"""At most MOST_FOUND rows that do not agree, at a cost that does not grow with what has ended."""
Repair = Callable[[Database, Sequence[Finding], Bounds], int]
"""Repair those that still do not agree; returns how many. Safe to repeat, and safe against whoever else moves
the same rows: each statement asks again, under the row's lock."""


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """`name` is a metric's label. Without `repair` only a person can help. Looked at each `every_s` s.

    A finding counts once a look at least `confirmed_after_s` later has it too: the dispatcher may be at it.
    """

    name: str
    description: str
    find: Find
    repair: Repair | None = None
    every_s: float = field(default=60.0)
    confirmed_after_s: float = 0.0
