"""Removal of a job's outputs: withdrawn first, so that no other job takes one over, then deleted.

A renderer that gives a job an output that another job has already locks that job's row with FOR SHARE in the
transaction in which it writes the key. So it is either seen by `is_shared`, or finds the output withdrawn.
"""

import uuid
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ARRAY, Uuid, any_, delete, literal, select, update
from sqlalchemy.orm import Session

from cutout.models import JOBS, OUTPUTS


class OutputObject(NamedTuple):
    """An output's object in the bucket."""

    name: str
    key: str


def output_objects(session: Session, job_id: uuid.UUID) -> list[OutputObject]:
    """The objects of a job's outputs, by name."""
    found = select(OUTPUTS.c.name, OUTPUTS.c.key).where(
        OUTPUTS.c.job_id == job_id, OUTPUTS.c.key.is_not(None)
    )
    return [OutputObject._make(row) for row in session.execute(found.order_by(OUTPUTS.c.name))]


def withdraw_outputs(session: Session, job_id: uuid.UUID) -> list[OutputObject]:
    """Cancel a job's outputs that are not made, and let no job take the others over; returns their objects.

    The rows of the latter still name the objects, until the job's row is emptied: after an interruption this
    may be called again. Commit before `is_shared` is called.
    """
    session.execute(delete(OUTPUTS).where(OUTPUTS.c.job_id == job_id, OUTPUTS.c.key.is_(None)))
    # An output is found by the purchase that it was made of.
    session.execute(update(OUTPUTS).where(OUTPUTS.c.job_id == job_id).values(bought_sha256=b""))
    return output_objects(session, job_id)


def is_shared(session: Session, job_id: uuid.UUID, key: str, *, other_than: bytes | None = None) -> bool:
    """Whether another job has the output's object; with `other_than`, a job for another source than this."""
    # An output of the bought picture's own size is the bought object itself.
    bought = select(JOBS.c.id).where(JOBS.c.key == key, JOBS.c.id != job_id).limit(1)
    if session.scalar(bought) is not None:
        return True
    others = select(OUTPUTS.c.job_id).where(OUTPUTS.c.key == key, OUTPUTS.c.job_id != job_id)
    if other_than is not None:
        others = others.join(JOBS, JOBS.c.id == OUTPUTS.c.job_id).where(
            JOBS.c.source_sha256.is_not(None), JOBS.c.source_sha256 != other_than
        )
    return session.scalar(others.limit(1)) is not None


def forget_outputs(session: Session, job_ids: Collection[uuid.UUID]) -> list[OutputObject]:
    """Delete the rows of jobs' outputs in the caller's transaction; returns the objects that they named."""
    these = OUTPUTS.c.job_id == any_(literal(list(job_ids), ARRAY(Uuid)))
    gone = delete(OUTPUTS).where(these).returning(OUTPUTS.c.name, OUTPUTS.c.key)
    return [OutputObject(name, key) for name, key in session.execute(gone) if key is not None]
