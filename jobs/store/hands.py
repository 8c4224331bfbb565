"""What a person or producer does to a job that no worker holds."""

import uuid
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, null, or_, update

from jobs.approval import NEEDS_APPROVAL
from jobs.database import Database
from jobs.models import JOBS
from jobs.states import Standing, State, Step

# What holds a job whose paid result is gone or is not what was asked for.
USELESS = ["RESULT_EXPIRED", "RESULT_WRONG"]


def cancel(database: Database, job_id: uuid.UUID) -> bool:
    """Withdraw a job that no worker holds; False if there is none such. A credit that it cost stays spent."""
    return _change(
        database,
        JOBS.c.id == job_id,
        JOBS.c.state.in_([State.QUEUED, State.HELD]),
        values={
            "state": State.CANCELLED,
            "standing": None,
            "finished_at": func.now(),
            "step": Step.CALL,
            "result_url": None,
            "result_expires_at": None,
            "lifeboat_key": None,
            "code": None,
            "message": None,
        },
    )


def retry(database: Database, job_id: uuid.UUID) -> bool:
    """Put a failed or held job back in line with all its tries; False if there is none such.

    One that waits for approval is let go by that alone.

    It goes on with the copy while its paid result is worth it; else it will be called again, for another
    credit.
    """
    lives = and_(
        or_(JOBS.c.result_expires_at > func.now(), JOBS.c.lifeboat_key.is_not(None)),
        JOBS.c.code.not_in(USELESS),
    )
    return _change(
        database,
        JOBS.c.id == job_id,
        JOBS.c.state.in_([State.FAILED, State.HELD]),
        JOBS.c.code != NEEDS_APPROVAL,
        values={
            "state": State.QUEUED,
            "standing": Standing.IN_LINE,
            "finished_at": None,
            "scheduled_at": func.now(),
            "tries": 0,
            "code": None,
            "message": None,
            "step": case((lives, Step.COPY), else_=Step.CALL),
            "result_url": case((lives, JOBS.c.result_url), else_=null()),
            "result_expires_at": case((lives, JOBS.c.result_expires_at), else_=null()),
            "lifeboat_key": case((lives, JOBS.c.lifeboat_key), else_=null()),
        },
    )


def _change(database: Database, *where: ColumnElement[bool], values: dict[str, Any]) -> bool:
    changed = update(JOBS).where(*where).values(values).returning(JOBS.c.id)
    return database.scalar(changed) is not None
