"""Record of actions: each change that was asked for leaves one row, in the transaction that accepts it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from cutout.enums import ActionKind, Subject
from cutout.models import ACTIONS, BATCHES, JOBS
from cutout.models.database import Database
from cutout.producers.action_rights import require_right
from cutout.producers.actors import Asked
from cutout.telemetry import logs


@dataclass(frozen=True, slots=True)
class About:
    """Subject of an action; its producer, if it belongs to one, and the batch that it is or is in."""

    subject: Subject
    id: uuid.UUID | None = None
    producer_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of the action's row that name the subject."""
        return {
            "subject": self.subject,
            "subject_id": self.id,
            "producer_id": self.producer_id,
            "batch_id": self.batch_id,
        }


EVERYTHING = About(Subject.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Extent:
    """Numbers of an action: changed, to be changed, and the most credits it may cost; None: not known."""

    changed: int = 1
    expected: int | None = None
    credits: int | None = None
    dollars: float | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of the action's row that say how much."""
        return {"expected": self.expected, "credits": self.credits, "dollars": self.dollars}


ONE = Extent()


def about_batch(database: Database, batch_id: uuid.UUID) -> About:
    """The batch as a subject."""
    owner = database.scalar(select(BATCHES.c.producer_id).where(BATCHES.c.id == batch_id))
    return About(Subject.BATCH, batch_id, owner, batch_id)


def about_job(database: Database, job_id: uuid.UUID) -> About:
    """The job as a subject."""
    job = database.execute(select(JOBS.c.producer_id, JOBS.c.batch_id).where(JOBS.c.id == job_id)).one()
    return About(Subject.JOB, job_id, job.producer_id, job.batch_id)


def record(
    database: Database,
    asked: Asked,
    kind: ActionKind,
    about: About,
    extent: Extent = ONE,
    *,
    options: Mapping[str, Any] | None = None,
) -> uuid.UUID:
    """Record an action that the caller's transaction completes; returns its id.

    Raises RightMissingError if an operator's key lacks the right for it: roll back then. `options` hold
    nothing secret: names of changed fields, numbers, states before.
    """
    finished = {"started_at": func.now(), "finished_at": func.now(), "changed": extent.changed}
    return insert_action(database, asked, kind, about, extent, options=dict(options or {}), **finished)


def insert_action(
    database: Database,
    asked: Asked | None,
    kind: ActionKind,
    about: About,
    extent: Extent,
    *,
    options: dict[str, Any],
    **progress: Any,
) -> uuid.UUID:
    """Insert the row of an action, finished or not as `progress` says; returns its id."""
    if asked is not None:
        require_right(asked.by, kind, extent.credits)
    given = {} if asked is None else asked.columns()
    action_id: uuid.UUID = database.execute(
        ACTIONS.insert()
        .values(kind=kind, options=options, **given, **about.columns(), **extent.columns(), **progress)
        .returning(ACTIONS.c.id)
    ).scalar_one()
    logs.note(action_id=str(action_id))
    return action_id
