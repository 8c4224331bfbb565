"""A job's way through its states. Each change is a conditional UPDATE: whoever comes late changes nothing."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from sqlalchemy import ColumnElement, case, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from jobs.backoff import BACKOFF
from jobs.models import Account, Attempt, Job
from jobs.outcomes import Fail, Hold, Outcome, Retry, Snooze, StoredObject, Succeeded, Unknown
from jobs.states import AttemptOutcome, ReturnForm, Standing, State, Step

LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands. `fence` and `worker_id` go into every later write."""

    job_id: uuid.UUID
    fence: int
    worker_id: uuid.UUID
    batch_id: uuid.UUID | None
    external_id: str | None
    source: str
    return_form: ReturnForm
    step: Step
    tries: int
    attempts: int
    result: "PaidResult | None"


@dataclass(frozen=True, slots=True)
class PaidResult:
    """What a paid call brought: a URL that is a secret and dies, and the size of what was sent (pixels)."""

    url: str
    expires_at: datetime
    sent_width: int
    sent_height: int

    def __repr__(self) -> str:
        return f"PaidResult(url=<secret>, expires_at={self.expires_at.isoformat()})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger keeps of a call's end."""

    outcome: AttemptOutcome
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    log_id: str | None = None


def claim(session: Session, job_id: uuid.UUID, fence: int, worker_id: uuid.UUID) -> Claim | None:
    """Take a job that was handed out under `fence`. None for a late or repeated message."""
    attempts = select(func.count()).where(Attempt.job_id == Job.id).scalar_subquery()
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.standing == Standing.HANDED_OUT)
        .values(state=State.RUNNING, standing=None, worker_id=worker_id)
        .returning(
            Job.batch_id,
            Job.external_id,
            Job.source,
            Job.return_form,
            Job.step,
            Job.tries,
            Job.result_url,
            Job.result_expires_at,
            Job.sent_width,
            Job.sent_height,
            attempts.label("attempts"),
        )
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        return None
    result = PaidResult(row.result_url, row.result_expires_at, row.sent_width, row.sent_height)
    return Claim(
        job_id=job_id,
        fence=fence,
        worker_id=worker_id,
        batch_id=row.batch_id,
        external_id=row.external_id,
        source=row.source,
        return_form=ReturnForm(row.return_form),
        step=Step(row.step),
        tries=row.tries,
        attempts=row.attempts,
        result=result if row.result_url else None,
    )


def begin_attempt(
    session: Session, claim: Claim, *, number: int, account: str, image_sha256: bytes
) -> int | None:
    """Write down that a paid call is about to go out, and return the attempt's id.

    None if it must not: the claim was lost, or the account is paused.

    Safe to repeat for the same `number`: the first row stands and its id is returned.
    """
    open_account = select(Account.name).where(Account.name == account, Account.paused_at.is_(None))
    still_ours = select(
        Job.id,
        literal(number),
        literal(claim.fence),
        literal(claim.worker_id),
        literal(account),
        literal(image_sha256),
    ).where(*_fenced(claim), open_account.exists())
    columns = ["job_id", "number", "fence", "worker_id", "account", "image_sha256"]
    new = insert(Attempt).from_select(columns, still_ours)
    return session.scalar(
        new.on_conflict_do_update(
            index_elements=["job_id", "number"],
            set_={"account": new.excluded.account},
            where=Attempt.fence == new.excluded.fence,
        ).returning(Attempt.id)
    )


def end_attempt(session: Session, attempt_id: int, answer: Answer) -> None:
    """Write a call's end into the ledger, whether or not its worker still holds the job."""
    session.execute(
        update(Attempt)
        .where(Attempt.id == attempt_id)
        .values(
            outcome=answer.outcome,
            ended_at=func.now(),
            http_status=answer.http_status,
            code=answer.code,
            message=_short(answer.message),
            request_id=answer.request_id,
            log_id=answer.log_id,
        )
        .execution_options(synchronize_session=False)
    )


def record_result(
    session: Session, claim: Claim, *, url: str, lifetime: timedelta, sent: tuple[int, int]
) -> Claim:
    """Write down a paid call's result before anything else is done with it; the job's next step is the copy.

    A worker that lost its claim still gives the result to a job that has none: it is paid for.
    """
    values: dict[str, Any] = {
        "step": Step.COPY,
        "tries": 0,
        "result_url": url,
        "result_expires_at": func.now() + lifetime,
        "sent_width": sent[0],
        "sent_height": sent[1],
        "code": None,
        "message": None,
    }
    expires_at = _change(session, _fenced(claim), values, Job.result_expires_at)
    if expires_at is None:
        unfinished = Job.state.in_([State.QUEUED, State.RUNNING, State.HELD])
        has_none = (Job.id == claim.job_id, unfinished, Job.result_url.is_(None))
        expires_at = _change(session, has_none, values, Job.result_expires_at)
    if expires_at is None:
        return claim
    return replace(claim, step=Step.COPY, tries=0, result=PaidResult(url, expires_at, *sent))


def settle(session: Session, claim: Claim, outcome: Outcome, *, unknowns_allowed: int = 1) -> bool:
    """Turn what happened into the job's next state. False if the claim was lost: nothing is changed then."""
    match outcome:
        case Succeeded(stored):
            values = _succeeded(stored)
        case Retry():
            values = _retry(claim, outcome)
        case Snooze(code, message, seconds):
            values = _rest(seconds, code, message)
        case Fail(code, message):
            values = _finished(State.FAILED, code, message)
        case Unknown(code, message):
            values = _unknown(session, claim, code, message, unknowns_allowed)
        case Hold(code, message):
            values = {"state": State.HELD, "worker_id": None, "code": code, "message": _short(message)}
        case _:
            assert_never(outcome)
    if _change(session, (*_fenced(claim), Job.step == claim.step), values, Job.id):
        return True
    # Another worker's paid result arrived meanwhile: the job goes on from there, whatever came of this call.
    return _change(session, _fenced(claim), _rest(0.0, None, None), Job.id) is not None


def _fenced(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id == claim.job_id,
        Job.fence == claim.fence,
        Job.worker_id == claim.worker_id,
        Job.state == State.RUNNING,
    )


def _change(
    session: Session, where: tuple[ColumnElement[bool], ...], values: dict[str, Any], returning: Any
) -> Any | None:
    """One conditional UPDATE; the value of `returning` if it found its row."""
    return session.scalar(
        update(Job)
        .where(*where)
        .values(values)
        .returning(returning)
        .execution_options(synchronize_session=False)
    )


def _succeeded(stored: StoredObject) -> dict[str, Any]:
    return {
        **_finished(State.SUCCEEDED, None, None),
        "result_url": None,
        "result_expires_at": None,
        "key": stored.key,
        "sha256": bytes.fromhex(stored.sha256),
        "media_type": stored.media_type,
        "size_bytes": stored.size_bytes,
        "width": stored.width,
        "height": stored.height,
    }


def _finished(state: State, code: str | None, message: str | None) -> dict[str, Any]:
    return {
        "state": state,
        "worker_id": None,
        "finished_at": func.now(),
        "code": code,
        "message": _short(message),
    }


def _rest(seconds: float, code: str | None, message: str | None) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "standing": Standing.RESTING,
        "worker_id": None,
        "scheduled_at": func.now() + timedelta(seconds=seconds),
        "code": code,
        "message": _short(message),
    }


def _retry(claim: Claim, outcome: Retry) -> dict[str, Any]:
    backoff, tries = BACKOFF[outcome.step], claim.tries + 1
    most = outcome.most_tries or backoff.tries
    if most is not None and tries >= most:
        return _finished(State.FAILED, outcome.code, f"{outcome.message} (tried {tries} times)")
    delay = backoff.delay(tries) if outcome.after_seconds is None else outcome.after_seconds
    return {**_rest(delay, outcome.code, outcome.message), "tries": tries}


def _unknown(session: Session, claim: Claim, code: str, message: str, allowed: int) -> dict[str, Any]:
    unknowns = session.scalar(
        select(func.count()).where(Attempt.job_id == claim.job_id, Attempt.outcome == AttemptOutcome.UNKNOWN)
    )
    if (unknowns or 0) > allowed:
        return {"state": State.HELD, "worker_id": None, "code": code, "message": _short(message)}
    return _rest(BACKOFF[Step.CALL].first_seconds, code, message)


def _short(message: str | None) -> str | None:
    return message if message is None else message[:LONGEST_MESSAGE]


def cancel(session: Session, job_id: uuid.UUID) -> bool:
    """Withdraw a job that no worker holds; False if there is none such. A credit that it cost stays spent."""
    waiting = (Job.id == job_id, Job.state.in_([State.QUEUED, State.HELD]))
    values = {
        **_finished(State.CANCELLED, None, None),
        "standing": None,
        "step": Step.CALL,
        "result_url": None,
        "result_expires_at": None,
    }
    return _change(session, waiting, values, Job.id) is not None


def retry(session: Session, job_id: uuid.UUID) -> bool:
    """Put a failed or held job back in line with all its tries; False if there is none such.

    It goes on with the copy while its paid result lives; else it will be called again, for another credit.
    """
    stopped = (Job.id == job_id, Job.state.in_([State.FAILED, State.HELD]))
    lives = Job.result_expires_at > func.now()
    values = {
        "state": State.QUEUED,
        "standing": Standing.IN_LINE,
        "finished_at": None,
        "scheduled_at": func.now(),
        "tries": 0,
        "code": None,
        "message": None,
        "step": case((lives, Step.COPY), else_=Step.CALL),
        "result_url": case((lives, Job.result_url)),
        "result_expires_at": case((lives, Job.result_expires_at)),
    }
    return _change(session, stopped, values, Job.id) is not None
