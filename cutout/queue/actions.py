"""What a person or producer does to a job."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    func,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from cutout.enums import Standing, State, Step
from cutout.models import BATCHES, JOBS, constant
from cutout.models.database import Database
from cutout.queue.attempts.losses import last_paid, lose, lose_results_of
from cutout.queue.attempts.unexpected_results import NOT_ACCEPTED
from cutout.queue.blocks.approval import NEEDS_APPROVAL

# What holds a job whose paid result is gone or is not what was asked for.
USELESS = ["RESULT_EXPIRED", "RESULT_UNEXPECTED"]

THESE = JOBS.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
RETRIABLE = (State.FAILED, State.HELD)
CANCELLABLE = (State.QUEUED, State.HELD, State.RUNNING)


def _cancel() -> ReturningUpdate[uuid.UUID, str]:
    """Withdraw what is not paid for. What is goes on to its copy; what a worker holds is marked for it.

    A paid result that is dropped, since it was found useless, is a loss in the ledger.
    """
    is_paid = JOBS.c.result_url.is_not(None)
    goes_on = or_(
        JOBS.c.state == State.RUNNING,
        and_(is_paid, or_(JOBS.c.state == State.QUEUED, JOBS.c.code.is_(None), JOBS.c.code.not_in(USELESS))),
    )
    these = (
        select(
            JOBS.c.id,
            goes_on.label("goes_on"),
            and_(goes_on, JOBS.c.state == State.HELD).label("is_released"),
            and_(is_paid, not_(goes_on)).label("is_dropped"),
        )
        .where(THESE, JOBS.c.state.in_(CANCELLABLE))
        .order_by(JOBS.c.id)
        .with_for_update()
        .cte("these")
    )

    def either(released: Any, ended: Any, name: str) -> ColumnElement[Any]:
        kept = JOBS.c[name]
        return case((these.c.is_released, released), (these.c.goes_on, kept), else_=ended)

    def kept_if_paid(name: str) -> ColumnElement[Any]:
        return case((these.c.goes_on, JOBS.c[name]), else_=null())

    return (
        update(JOBS)
        .where(JOBS.c.id == these.c.id)
        .values(
            state=either(constant(State.QUEUED), constant(State.CANCELLED), "state"),
            standing=either(constant(Standing.IN_LINE), null(), "standing"),
            scheduled_at=either(func.now(), JOBS.c.scheduled_at, "scheduled_at"),
            step=case((these.c.goes_on, JOBS.c.step), else_=constant(Step.CALL)),
            code=either(null(), null(), "code"),
            message=either(null(), null(), "message"),
            finished_at=case((these.c.goes_on, JOBS.c.finished_at), else_=func.now()),
            cancelled_at=func.coalesce(JOBS.c.cancelled_at, func.now()),
            **{name: kept_if_paid(name) for name in ("result_url", "result_expires_at", "lifeboat_key")},
        )
        .returning(JOBS.c.id, JOBS.c.state)
        .add_cte(lose(last_paid(these, these.c.is_dropped)))
    )


CANCEL = _cancel()

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
            cancelled_at=None,
            released_at=func.now(),
            scheduled_at=func.now(),
            tries=0,
            deaths=0,
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
        # A person wants something of it again: what is withdrawn stays so.
        .values(results_key=null(), results_unwritten_at=null(), cancelled_at=null())
        .cte("unwritten"),
        lose_results_of(may_go, not_(LIVES)),
    )


RETRY = _retry(*RETRIABLE)
RELEASE = _retry(State.HELD)


def cancel(database: Database, job_id: uuid.UUID) -> bool:
    """Withdraw a job that has not ended; False if it has. A credit that it cost stays spent.

    What is paid for is still copied, and it ends as succeeded then. What a worker holds ends by that worker,
    which begins no call for it any more.
    """
    return database.execute(CANCEL, {"ids": [job_id]}).first() is not None


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
    """The same with each of these jobs; returns how many are withdrawn by now."""
    rows = database.execute(CANCEL, {"ids": list(job_ids)})
    return sum(row.state == State.CANCELLED for row in rows)
