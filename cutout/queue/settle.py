"""Settling: one function turns the outcome of a claim into the job's next state."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never

from sqlalchemy import CTE, ColumnElement, and_, bindparam, case, func, not_, null, select, update

from cutout.enums import AttemptOutcome, QueueState, State, Step
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.queue.attempts.flags import excuse, last_paid
from cutout.queue.attempts.outcomes import (
    Fail,
    Hold,
    Lost,
    Outcome,
    Retry,
    Snooze,
    StoredObject,
    Succeeded,
    Unknown,
    WorkerDied,
)
from cutout.queue.backoff import BACKOFF
from cutout.queue.blocks.conditions import JOB_IS_CANCELLED
from cutout.queue.blocks.storage_breaker import record_fetch
from cutout.queue.claims import FENCED, Claim
from cutout.queue.reuse.acquire import PUBLISH
from cutout.queue.reuse.held_pictures import in_doubt_elsewhere
from cutout.text import cut

AT_CLAIMED_STEP = JOBS.c.step == bindparam("claimed_step")
PAID_SOURCE = (
    select(ATTEMPTS.c.source_sha256)
    .where(ATTEMPTS.c.id == JOBS.c.result_attempt)
    .correlate(JOBS)
    .scalar_subquery()
)
LAST_SOURCE = (
    select(ATTEMPTS.c.source_sha256)
    .where(ATTEMPTS.c.job_id == JOBS.c.id)
    .order_by(ATTEMPTS.c.id.desc())
    .limit(1)
    .correlate(JOBS)
    .scalar_subquery()
)

_SUCCEED = (
    update(JOBS)
    .where(FENCED, AT_CLAIMED_STEP)
    .values(
        state=constant(State.SUCCEEDED),
        finished_at=func.now(),
        **{
            name: null()
            for name in (
                "worker_id",
                "code",
                "message",
                "result_url",
                "result_expires_at",
                "lifeboat_key",
            )
        },
        reused=bindparam("new_reused"),
        # The source that the cutout was made of: the job may have another one since.
        source_sha256=case(
            (bindparam("new_reused"), JOBS.c.source_sha256),
            else_=func.coalesce(PAID_SOURCE, JOBS.c.source_sha256),
        ),
        **{name: bindparam(f"new_{name}") for name in StoredObject.__slots__},
    )
    .returning(JOBS.c.id)
    .add_cte(
        PUBLISH,
        record_fetch().where(select(JOBS.c.id).where(FENCED, AT_CLAIMED_STEP).exists()).cte("fetched"),
    )
)


def _mark(name: str, lost_at: ColumnElement[Any], *conditions: ColumnElement[bool]) -> CTE:
    """Set in the ledger whether the claim's present result is lost."""
    last = last_paid(JOBS, FENCED, AT_CLAIMED_STEP, *conditions).scalar_subquery()
    return update(ATTEMPTS).where(ATTEMPTS.c.id == last).values(lost_at=lost_at).cte(name)


LOSE = _mark("lost", func.now())
LOSE_IF_CANCELLED = _mark("lost", func.now(), JOB_IS_CANCELLED)
# A result that was declared lost, and was fetched from its URL after all.
FIND_AGAIN = _mark("found_again", null())
SUCCEED = Compiled(_SUCCEED)
SUCCEED_AFTER_ALL = Compiled(_SUCCEED.add_cte(FIND_AGAIN))

# An error between the call and the record of its end leaves the attempt open.
GIVE_UP = (
    update(ATTEMPTS)
    .where(
        ATTEMPTS.c.job_id == bindparam("claimed_job"),
        ATTEMPTS.c.fence == bindparam("claimed_fence"),
        ATTEMPTS.c.ended_at.is_(None),
    )
    .values(ended_at=func.now(), unknown_at=func.now(), code=bindparam("why"))
    .cte("given_up")
)

COUNTS_AGAINST_JOB = and_(ATTEMPTS.c.outcome == AttemptOutcome.UNKNOWN, ~ATTEMPTS.c.in_outage)

# After this time without the source the job fails.
SOURCE_PATIENCE = timedelta(hours=24)

CALL_AGAIN = {
    "step": Step.CALL,
    "tries": 0,
    "result_url": None,
    "result_expires_at": None,
    "lifeboat_key": None,
    "gone_tries": 0,
    "deaths": 0,
}
# Snoozes that come after the preparation, in which a picture can kill its worker.
AFTER_PREPARATION = frozenset({"LIMIT_REACHED", "LIMITER_AWAY", "NOT_BEGUN"})
# Ends a job that was cancelled while a worker had it.
END_CANCELLED = (
    update(JOBS)
    .where(FENCED, AT_CLAIMED_STEP, JOB_IS_CANCELLED)
    .values(
        CALL_AGAIN
        | {
            "state": State.CANCELLED,
            "worker_id": None,
            "finished_at": func.now(),
            "code": None,
            "message": None,
        }
    )
    .returning(JOBS.c.id)
)


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """Limits for one picture: unknown charges and lost results that are repeated before its job is held."""

    unknown: int = 1
    lost: int = 0


DEFAULT_BOUNDS = RetryLimits()


def settle(database: Database, claim: Claim, outcome: Outcome, bounds: RetryLimits = DEFAULT_BOUNDS) -> bool:
    """Turn an outcome into the job's next state; false if the claim was lost, and nothing is changed then."""
    parameters = claim.as_parameters() | {"claimed_step": claim.step}
    if isinstance(outcome, Succeeded):
        parameters |= _stored(outcome) | {"was_fetched": _was_fetched(claim, outcome)}
        succeed = SUCCEED_AFTER_ALL if claim.gone_tries else SUCCEED
        changed = succeed.scalar(database, parameters) is not None
    else:
        values = _values(database, claim, outcome, bounds)
        if claim.deaths and _survived(outcome):
            values = {"deaths": 0} | values
        change = update(JOBS).where(FENCED, AT_CLAIMED_STEP).values(values).returning(JOBS.c.id)
        if not _ignores_cancellation(claim, values):
            change = change.where(not_(JOB_IS_CANCELLED))
        if isinstance(outcome, Lost):
            change = change.add_cte(LOSE)
        if isinstance(outcome, Hold) and claim.step is Step.COPY:
            change = change.add_cte(LOSE_IF_CANCELLED)
        if isinstance(outcome, Unknown):
            change, parameters = change.add_cte(GIVE_UP), parameters | {"why": outcome.code}
        changed = database.scalar(change, parameters) is not None
    if changed or database.scalar(END_CANCELLED, parameters) is not None:
        return True
    # Another worker's paid result arrived meanwhile: the job continues with it, whatever this call's outcome.
    again = update(JOBS).where(FENCED).values(_delayed(0.0, None, None)).returning(JOBS.c.id)
    return database.scalar(again, claim.as_parameters()) is not None


def _ignores_cancellation(claim: Claim, values: dict[str, Any]) -> bool:
    """Whether cancelling changes nothing: the job failed, or its paid result is still copied."""
    is_copied = claim.step is Step.COPY and "step" not in values and values["state"] == State.QUEUED
    return bool(is_copied or values["state"] == State.FAILED)


def _survived(outcome: Outcome) -> bool:
    """Whether the worker got through the preparation; an earlier snooze says nothing about that."""
    return not isinstance(outcome, Snooze) or outcome.code in AFTER_PREPARATION


def _values(database: Database, claim: Claim, outcome: Outcome, bounds: RetryLimits) -> dict[str, Any]:
    match outcome:
        case Retry():
            return _retry(claim, outcome)
        case WorkerDied():
            return _delayed(0.0, outcome.code, outcome.message) | {"deaths": JOBS.c.deaths + 1}
        case Snooze():
            return _snooze(database, claim, outcome)
        case Fail(code, message):
            return _failed(code, message)
        case Unknown():
            return _unknown(database, claim, outcome, bounds)
        case Lost(code, message):
            lost = _count(database, claim, ATTEMPTS.c.lost_at.is_not(None))
            if not outcome.again and lost >= bounds.lost:
                return _held(code, message) | _counted(gone=outcome.gone)
            return _delayed(0.0, code, message) | CALL_AGAIN
        case Hold(code, message, blocked):
            return _held(code, message) | {"queue_state": QueueState.BLOCKED if blocked else None}
        case Succeeded():
            raise TypeError("a success has its own statement")
        case _:
            assert_never(outcome)


def _snooze(database: Database, claim: Claim, why: Snooze) -> dict[str, Any]:
    if why.of_source:
        return _wait_for_source(database, claim, why)
    values = _delayed(why.seconds, why.code, why.message)
    if why.waits_for is None:
        return values
    return values | {"queue_state": QueueState.WAITING, "waits_for": why.waits_for}


def _retry(claim: Claim, outcome: Retry) -> dict[str, Any]:
    backoff, tries = BACKOFF[outcome.step], claim.tries + 1
    most = outcome.most_tries or backoff.tries
    if most is not None and tries >= most:
        return _failed(outcome.code, f"{outcome.message} (tried {tries} times)")
    delay = backoff.delay(tries) if outcome.after_seconds is None else outcome.after_seconds
    if outcome.at_most_seconds is not None:
        delay = min(delay, outcome.at_most_seconds)
    return {**_delayed(delay, outcome.code, outcome.message), "tries": tries} | _counted(gone=outcome.gone)


def _counted(*, gone: bool) -> dict[str, Any]:
    return {"gone_tries": JOBS.c.gone_tries + 1} if gone else {}


def _unknown(database: Database, claim: Claim, outcome: Unknown, bounds: RetryLimits) -> dict[str, Any]:
    if outcome.in_outage:
        excuse(database, claim)
    elif _count(database, claim, COUNTS_AGAINST_JOB) > bounds.unknown:
        return _held(outcome.code, outcome.message)
    return _delayed(BACKOFF[Step.CALL].first_seconds, outcome.code, outcome.message)


def _wait_for_source(database: Database, claim: Claim, why: Snooze) -> dict[str, Any]:
    """Delay the job, for a day of nothing else at most; the day is by Postgres' clock."""
    over = select(JOBS.c.source_failed_at < func.now() - SOURCE_PATIENCE).where(FENCED)
    if database.scalar(over, claim.as_parameters()):
        message = f"{why.message}; that lasted for {SOURCE_PATIENCE.total_seconds() / 3600:.0f} hours"
        return _failed("SOURCE_UNAVAILABLE", message)
    since = func.coalesce(JOBS.c.source_failed_at, func.now())
    return _delayed(why.seconds, why.code, why.message) | {"source_failed_at": since}


def _was_fetched(claim: Claim, outcome: Succeeded) -> bool:
    """Whether the result came from the endpoint's host: neither bought before, nor saved by us since."""
    result, unexpected = claim.result, claim.unexpected
    is_saved = unexpected is not None and unexpected.accepted
    return not (outcome.reused or is_saved) and result is not None and result.lifeboat_key is None


def _delayed(seconds: float, code: str | None, message: str | None) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "queue_state": QueueState.DELAYED,
        "worker_id": None,
        "scheduled_at": func.now() + timedelta(seconds=seconds),
        "source_failed_at": None,
        "code": code,
        "message": cut(message),
    }


def _failed(code: str, message: str) -> dict[str, Any]:
    return {
        "state": State.FAILED,
        "worker_id": None,
        "finished_at": func.now(),
        "source_failed_at": None,
        "code": code,
        "message": cut(message),
    }


def _held(code: str, message: str) -> dict[str, Any]:
    return {
        "state": State.HELD,
        "worker_id": None,
        # By this, other jobs for the same picture are held as well.
        "source_sha256": func.coalesce(LAST_SOURCE, JOBS.c.source_sha256),
        "source_failed_at": None,
        "code": code,
        "message": cut(message),
    }


def _count(database: Database, claim: Claim, condition: ColumnElement[bool]) -> int:
    """Count the attempts of this job, and of other jobs for the same picture, that match `condition`."""
    own = select(func.count()).where(ATTEMPTS.c.job_id == claim.job_id, condition)
    others = in_doubt_elsewhere(claim.job_id, condition)
    counted: int = database.scalars(select(own.scalar_subquery() + others.scalar_subquery())).one()
    return counted


def _stored(outcome: Succeeded) -> dict[str, Any]:
    fields = {name: getattr(outcome.stored, name) for name in StoredObject.__slots__}
    where = {"new_reused": outcome.reused, "new_bucket": outcome.bucket}
    return {f"new_{name}": value for name, value in fields.items()} | where
