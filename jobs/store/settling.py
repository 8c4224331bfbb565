"""Settling: one function turns what happened into the job's next state."""

from datetime import timedelta
from typing import Any, assert_never

from sqlalchemy import bindparam, func, null, select, update

from jobs.backoff import BACKOFF
from jobs.database import Database
from jobs.models import ATTEMPTS, JOBS, constant
from jobs.outcomes import Fail, Hold, Outcome, Retry, Snooze, StoredObject, Succeeded, Unknown
from jobs.states import AttemptOutcome, Standing, State, Step
from jobs.store.claims import FENCED, Claim
from jobs.store.words import cut

AT_ITS_STEP = JOBS.c.step == bindparam("claimed_step")

SUCCEED = (
    update(JOBS)
    .where(FENCED, AT_ITS_STEP)
    .values(
        state=constant(State.SUCCEEDED),
        finished_at=func.now(),
        **{name: null() for name in ("worker_id", "code", "message", "result_url", "result_expires_at")},
        **{name: bindparam(f"new_{name}") for name in StoredObject.__slots__},
    )
    .returning(JOBS.c.id)
)


def settle(database: Database, claim: Claim, outcome: Outcome, *, unknowns_allowed: int = 1) -> bool:
    """Turn what happened into the job's next state. False if the claim was lost: nothing is changed then."""
    parameters = claim.as_parameters()
    if isinstance(outcome, Succeeded):
        change, parameters = SUCCEED, parameters | _stored(outcome.stored)
    else:
        values = _values(database, claim, outcome, unknowns_allowed)
        change = update(JOBS).where(FENCED, AT_ITS_STEP).values(values).returning(JOBS.c.id)
    if database.scalar(change, parameters | {"claimed_step": claim.step}):
        return True
    # Another worker's paid result arrived meanwhile: the job goes on from there, whatever came of this call.
    again = update(JOBS).where(FENCED).values(_rest(0.0, None, None)).returning(JOBS.c.id)
    return database.scalar(again, claim.as_parameters()) is not None


def _values(database: Database, claim: Claim, outcome: Outcome, unknowns_allowed: int) -> dict[str, Any]:
    match outcome:
        case Retry():
            return _retry(claim, outcome)
        case Snooze(code, message, seconds):
            return _rest(seconds, code, message)
        case Fail(code, message):
            return _failed(code, message)
        case Unknown(code, message):
            if _unknowns(database, claim) > unknowns_allowed:
                return _held(code, message)
            return _rest(BACKOFF[Step.CALL].first_seconds, code, message)
        case Hold(code, message):
            return _held(code, message)
        case Succeeded():
            raise TypeError("a success has a statement of its own")
        case _:
            assert_never(outcome)


def _retry(claim: Claim, outcome: Retry) -> dict[str, Any]:
    backoff, tries = BACKOFF[outcome.step], claim.tries + 1
    most = outcome.most_tries or backoff.tries
    if most is not None and tries >= most:
        return _failed(outcome.code, f"{outcome.message} (tried {tries} times)")
    delay = backoff.delay(tries) if outcome.after_seconds is None else outcome.after_seconds
    return {**_rest(delay, outcome.code, outcome.message), "tries": tries}


def _rest(seconds: float, code: str | None, message: str | None) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "standing": Standing.RESTING,
        "worker_id": None,
        "scheduled_at": func.now() + timedelta(seconds=seconds),
        "code": code,
        "message": cut(message),
    }


def _failed(code: str, message: str) -> dict[str, Any]:
    return {
        "state": State.FAILED,
        "worker_id": None,
        "finished_at": func.now(),
        "code": code,
        "message": cut(message),
    }


def _held(code: str, message: str) -> dict[str, Any]:
    return {"state": State.HELD, "worker_id": None, "code": code, "message": cut(message)}


def _unknowns(database: Database, claim: Claim) -> int:
    counted = select(func.count()).where(
        ATTEMPTS.c.job_id == claim.job_id, ATTEMPTS.c.outcome == AttemptOutcome.UNKNOWN
    )
    return database.scalars(counted).one()


def _stored(stored: StoredObject) -> dict[str, Any]:
    fields = {name: getattr(stored, name) for name in StoredObject.__slots__}
    return {f"new_{name}": value for name, value in fields.items()}
