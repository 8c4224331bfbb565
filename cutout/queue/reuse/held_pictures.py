"""Held pictures: while a job waits for a person, no other job for the same picture is called.

So the limits on unknown charges and lost results hold for a picture, however often it is enqueued.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import aliased

from cutout.enums import State
from cutout.models import ATTEMPTS, JOBS, Job, constant
from cutout.models.columns import HELD
from cutout.models.database import Database
from cutout.queue.claims import Claim
from cutout.queue.reuse.identity import OF, Recipe, identity


@dataclass(frozen=True, slots=True)
class HeldPicture:
    """A held job and the reason; `is_own`: of the same producer, the only one that may see it."""

    job_id: uuid.UUID
    code: str
    message: str
    is_own: bool


_HELD = JOBS.alias("held_job")


def _held(job_id: ColumnElement[uuid.UUID], form: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    # A job that was never called, or at another endpoint, says nothing about the result of a call.
    was_called = (
        select(ATTEMPTS.c.id)
        .where(
            ATTEMPTS.c.job_id == _HELD.c.id,
            ATTEMPTS.c.endpoint == OF["endpoint"],
            ATTEMPTS.c.scope == OF["scope"],
        )
        .exists()
    )
    return (
        _HELD.c.state == HELD,
        _HELD.c.queue_state.is_(None),
        _HELD.c.source_sha256 == OF["source_sha256"],
        _HELD.c.bought_form == form,
        _HELD.c.id != job_id,
        was_called,
    )


# For statements about one job.
PICTURE_IS_HELD = and_(
    JOBS.c.released_at.is_(None),
    select(_HELD.c.id).where(*_held(JOBS.c.id, JOBS.c.bought_form)).correlate(JOBS).exists(),
)


def find_held_picture(
    database: Database, claim: Claim, source_sha256: bytes, recipe: Recipe
) -> HeldPicture | None:
    """Find the first held job with this claim's picture; None if none is held any more."""
    found = (
        select(
            _HELD.c.id,
            _HELD.c.code,
            _HELD.c.message,
            _HELD.c.producer_id.is_not_distinct_from(JOBS.c.producer_id).label("is_own"),
        )
        .where(JOBS.c.id == claim.job_id, *_held(JOBS.c.id, JOBS.c.bought_form))
        .order_by(_HELD.c.id)
        .limit(1)
    )
    row = database.execute(found, identity(source_sha256, claim.bought_form, recipe)).first()
    return None if row is None else HeldPicture(row.id, row.code, row.message or "", row.is_own)


def in_doubt_elsewhere(job_id: uuid.UUID, *conditions: ColumnElement[bool]) -> Select[int]:
    """Count the matching calls of other jobs, not succeeded, for the picture that this job called for last.

    The version of the preparation does not matter.
    """
    last = aliased(ATTEMPTS, name="last_attempt")
    picture = (
        select(last.c.source_sha256, last.c.endpoint, last.c.scope, Job.bought_form)
        .join(Job, Job.id == last.c.job_id)
        .where(last.c.job_id == job_id)
        .order_by(last.c.id.desc())
        .limit(1)
        .cte("picture")
    )
    other = JOBS.alias("other_job")
    return (
        select(func.count())
        .select_from(ATTEMPTS)
        .join(picture, ATTEMPTS.c.source_sha256 == picture.c.source_sha256)
        .join(other, other.c.id == ATTEMPTS.c.job_id)
        .where(
            # The partial index needs this condition.
            or_(ATTEMPTS.c.unknown_at.is_not(None), ATTEMPTS.c.lost_at.is_not(None)),
            ATTEMPTS.c.job_id != job_id,
            ATTEMPTS.c.endpoint == picture.c.endpoint,
            ATTEMPTS.c.scope == picture.c.scope,
            other.c.bought_form == picture.c.bought_form,
            other.c.state != constant(State.SUCCEEDED),
            *conditions,
        )
    )
