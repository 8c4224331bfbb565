"""What a person or producer does to a job that no worker holds."""

import uuid
from collections.abc import Sequence

from sqlalchemy import ARRAY, Select, Uuid, and_, any_, bindparam, case, func, not_, null, or_, select, update

from jobs.approval import NEEDS_APPROVAL
from jobs.database import Database
from jobs.models import BATCHES, JOBS
from jobs.states import Standing, State, Step
from jobs.store.losses import lose_results_of
from jobs.store.unexpected import NOT_ACCEPTED

THESE = JOBS.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
RETRIABLE = (State.FAILED, State.HELD)
CANCELLABLE = (State.QUEUED, State.HELD)

CANCEL = (
    update(JOBS)
    .where(THESE, JOBS.c.state.in_(CANCELLABLE))
    .values(
        state=State.CANCELLED,
        standing=None,
        finished_at=func.now(),
        step=Step.CALL,
        result_url=None,
        result_expires_at=None,
        lifeboat_key=None,
        code=None,
        message=None,
    )
    .returning(JOBS.c.id)
)

# Whatever its code: a server may have been wrong, and asking it again costs nothing.
LIVES = or_(JOBS.c.result_expires_at > func.now(), JOBS.c.lifeboat_key.is_not(None))


def _retry(*states: State) -> Select[uuid.UUID]:
    # What waits for approval is not released like this.
    may_go = and_(THESE, JOBS.c.state.in_(states), JOBS.c.code != NEEDS_APPROVAL, JOBS.c.deleted_at.is_(None))
    retried = (
        update(JOBS)
        .where(may_go)
        .values(
            state=State.QUEUED,
            standing=Standing.IN_LINE,
            finished_at=None,
            scheduled_at=func.now(),
            tries=0,
            code=None,
            message=None,
            step=case((LIVES, Step.COPY), else_=Step.CALL),
            result_url=case((LIVES, JOBS.c.result_url), else_=null()),
            result_expires_at=case((LIVES, JOBS.c.result_expires_at), else_=null()),
            lifeboat_key=case((LIVES, JOBS.c.lifeboat_key), else_=null()),
            gone_tries=case((LIVES, JOBS.c.gone_tries), else_=0),
            unexpected=NOT_ACCEPTED,
        )
        .returning(JOBS.c.id, JOBS.c.batch_id)
        .cte("retried")
    )
    # Also where there is no key yet: who writes one at this moment must find the row changed, or wait for it.
    return select(retried.c.id).add_cte(
        update(BATCHES)
        .where(BATCHES.c.id.in_(select(retried.c.batch_id)))
        .values(results_key=null())
        .cte("unwritten"),
        lose_results_of(may_go, not_(LIVES)),
    )


RETRY = _retry(*RETRIABLE)
RELEASE = _retry(State.HELD)


def cancel(database: Database, job_id: uuid.UUID) -> bool:
    """Withdraw a job that no worker holds; False if there is none such. A credit that it cost stays spent."""
    return bool(cancel_all(database, [job_id]))


def retry(database: Database, job_id: uuid.UUID) -> bool:
    """Put a failed or held job back in line with all its tries; False if there is none such.

    One that waits for approval is let go by that alone.

    While its paid result has not expired it goes on with the copy, whatever held it; else the loss is
    written down and it will be called again, for another credit.
    """
    return bool(retry_all(database, [job_id]))


def release(database: Database, job_id: uuid.UUID) -> bool:
    """The same with a job that is held, and no other."""
    return database.scalar(RELEASE, {"ids": [job_id]}) is not None


def retry_all(database: Database, job_ids: Sequence[uuid.UUID]) -> int:
    """The same with each of these jobs; returns how many. Their batches' results are to be written anew."""
    return len(database.scalars(RETRY, {"ids": list(job_ids)}).all())


def cancel_all(database: Database, job_ids: Sequence[uuid.UUID]) -> int:
    """Withdraw those of these jobs that no worker holds; returns how many."""
    return len(database.scalars(CANCEL, {"ids": list(job_ids)}).all())
