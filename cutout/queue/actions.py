"""Actions of people and producers on jobs: cancel, retry, release."""

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

from cutout.enums import QueueState, State, Step
from cutout.models import BATCHES, JOBS, constant
from cutout.models.database import Database
from cutout.queue.attempts.flags import last_paid, lose, lose_results_of
from cutout.queue.attempts.unexpected_results import NOT_ACCEPTED
from cutout.queue.batch_actions.unfinished import refuse_while_ending
from cutout.queue.blocks.approval import NEEDS_APPROVAL

# Codes of held jobs whose paid result is useless.
USELESS = ["RESULT_EXPIRED", "RESULT_UNEXPECTED"]

ARE_GIVEN = JOBS.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
RETRIABLE = (State.FAILED, State.HELD)
CANCELLABLE = (State.QUEUED, State.HELD, State.RUNNING)


def _cancel() -> ReturningUpdate[uuid.UUID, str]:
    """Cancel jobs that are not paid for. Paid jobs continue with their copy; a running job is marked only.

    A paid result that is dropped because it is useless is a loss in the ledger.
    """
    is_paid = JOBS.c.result_url.is_not(None)
    continues = or_(
        JOBS.c.state == State.RUNNING,
        and_(
            is_paid,
            or_(JOBS.c.state == State.QUEUED, JOBS.c.code.is_(None), JOBS.c.code.not_in(USELESS)),
        ),
    )
    chosen = (
        select(
            JOBS.c.id,
            continues.label("continues"),
            and_(continues, JOBS.c.state == State.HELD).label("is_released"),
            and_(is_paid, not_(continues)).label("is_dropped"),
        )
        .where(ARE_GIVEN, JOBS.c.state.in_(CANCELLABLE))
        .order_by(JOBS.c.id)
        .with_for_update()
        .cte("chosen")
    )

    def either(released: Any, ended: Any, name: str) -> ColumnElement[Any]:
        kept = JOBS.c[name]
        return case((chosen.c.is_released, released), (chosen.c.continues, kept), else_=ended)

    def kept_if_paid(name: str) -> ColumnElement[Any]:
        return case((chosen.c.continues, JOBS.c[name]), else_=null())

    return (
        update(JOBS)
        .where(JOBS.c.id == chosen.c.id)
        .values(
            state=either(constant(State.QUEUED), constant(State.CANCELLED), "state"),
            queue_state=either(constant(QueueState.READY), null(), "queue_state"),
            scheduled_at=either(func.now(), JOBS.c.scheduled_at, "scheduled_at"),
            step=case((chosen.c.continues, JOBS.c.step), else_=constant(Step.CALL)),
            code=either(null(), null(), "code"),
            message=either(null(), null(), "message"),
            finished_at=case((chosen.c.continues, JOBS.c.finished_at), else_=func.now()),
            cancelled_at=func.coalesce(JOBS.c.cancelled_at, func.now()),
            **{name: kept_if_paid(name) for name in ("result_url", "result_expires_at", "lifeboat_key")},
        )
        .returning(JOBS.c.id, JOBS.c.state)
        .add_cte(lose(last_paid(chosen, chosen.c.is_dropped)))
    )


CANCEL = _cancel()

# With any code: a server may have been wrong, and another fetch costs nothing.
RESULT_IS_FETCHABLE = or_(JOBS.c.result_expires_at > func.now(), JOBS.c.lifeboat_key.is_not(None))


def _retry(*states: State) -> Select[uuid.UUID]:
    # A job that waits for approval is released by the approval only.
    may_go = and_(
        ARE_GIVEN, JOBS.c.state.in_(states), JOBS.c.code != NEEDS_APPROVAL, JOBS.c.deleted_at.is_(None)
    )
    retried = (
        update(JOBS)
        .where(may_go)
        .values(
            state=State.QUEUED,
            queue_state=QueueState.READY,
            finished_at=None,
            cancelled_at=None,
            released_at=func.now(),
            scheduled_at=func.now(),
            tries=0,
            deaths=0,
            code=None,
            message=None,
            step=case((RESULT_IS_FETCHABLE, Step.COPY), else_=Step.CALL),
            result_url=case((RESULT_IS_FETCHABLE, JOBS.c.result_url), else_=null()),
            result_expires_at=case((RESULT_IS_FETCHABLE, JOBS.c.result_expires_at), else_=null()),
            lifeboat_key=case((RESULT_IS_FETCHABLE, JOBS.c.lifeboat_key), else_=null()),
            gone_tries=case((RESULT_IS_FETCHABLE, JOBS.c.gone_tries), else_=0),
            unexpected=NOT_ACCEPTED,
        )
        .returning(JOBS.c.id, JOBS.c.batch_id)
        .cte("retried")
    )
    # Also without a results key: whoever writes the results now must find the row changed, or wait for it.
    return select(retried.c.id).add_cte(
        update(BATCHES)
        .where(BATCHES.c.id.in_(select(retried.c.batch_id)))
        # The batch is in use again; its cancelled jobs stay cancelled.
        .values(results_key=null(), results_unwritten_at=null(), cancelled_at=null())
        .cte("unwritten"),
        lose_results_of(may_go, not_(RESULT_IS_FETCHABLE)),
    )


RETRY = _retry(*RETRIABLE)
RELEASE = _retry(State.HELD)


def cancel(database: Database, job_id: uuid.UUID) -> bool:
    """Cancel a job that has not ended; false if it has. A credit that it cost stays spent.

    A paid result is still copied, and the job ends as succeeded then. A running job is ended by its worker,
    which begins no call for it any more.
    """
    return database.execute(CANCEL, {"ids": [job_id]}).first() is not None


def retry(database: Database, job_id: uuid.UUID) -> bool:
    """Retry a failed or held job, with all its tries; false if it is neither, or waits for approval.

    While its paid result has not expired the job continues with the copy, whatever held it. Otherwise the
    loss is recorded and the job is called again, for another credit. Raises BatchIsEndingError.
    """
    return bool(retry_all(database, [job_id]))


def release(database: Database, job_id: uuid.UUID) -> bool:
    """Retry a held job only; a failed job is left alone. Raises BatchIsEndingError."""
    if database.scalar(RELEASE, {"ids": [job_id]}) is None:
        return False
    refuse_while_ending(database, [job_id])
    return True


def retry_all(database: Database, job_ids: Sequence[uuid.UUID]) -> int:
    """Retry these jobs; returns how many. The results of their batches will be written again.

    Raises BatchIsEndingError if a batch of theirs is being cancelled or deleted: roll back then.
    """
    retried = database.scalars(RETRY, {"ids": list(job_ids)}).all()
    if retried:
        refuse_while_ending(database, retried)
    return len(retried)


def cancel_all(database: Database, job_ids: Sequence[uuid.UUID]) -> int:
    """Cancel these jobs; returns how many are cancelled now."""
    rows = database.execute(CANCEL, {"ids": list(job_ids)})
    return sum(row.state == State.CANCELLED for row in rows)
