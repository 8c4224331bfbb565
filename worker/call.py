"""The paid step: prepare the picture, wait for a slot, write the intent down, call, write the answer down."""

import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

from jobs import accounts, store
from jobs.backoff import BACKOFF
from jobs.database import PostgresAwayError
from jobs.outcomes import Fail, Hold, Outcome, Snooze, Unknown
from jobs.states import AttemptOutcome, Step
from jobs.store import NOT_SENT, Answer, Claim, NotBegun
from worker.call_end import CallEnd, Paid
from worker.context import WorkerContext
from worker.endpoint.answer import Accepted, Refused
from worker.endpoint.errors import NoAnswer, NotSent, UnfitImage
from worker.endpoint.image import PreparedImage, prepare, refit
from worker.endpoint.limiter import Ending, LimiterAway, LimitReached, Slot
from worker.endpoint.verdicts import Verdict
from worker.judging import NOT_BEGUN_SNOOZE_S, Refusal, judge, not_begun
from worker.metrics import call_ended
from worker.obtaining import obtain
from worker.slots import AccountAtHand, NoAccountOpenError
from worker.sources import SourceError
from worker.stage import CALL, PREPARE, TURN, Stage

log = logging.getLogger(__name__)

LONGEST_WAIT_FOR_SLOT_S = 3.0
CUT_OFF = Snooze("WORKER_CUT_OFF", "its worker asks whether it reaches the bucket", 1.0)
STOPPING = Snooze("WORKER_STOPPING", "its worker ends; it goes on elsewhere", 0.0)


def call(context: WorkerContext, claim: Claim) -> Claim | Outcome:
    """Buy the cutout: the claim with its paid result, or why there is none."""
    if not context.bucket_watch.may_buy:
        return CUT_OFF
    if claim.calls >= context.settings.most_calls_per_job:
        reason = f"called {claim.calls} times without a result; raise CUTOUT_MOST_CALLS_PER_JOB or cancel it"
        return Hold("TOO_MANY_CALLS", reason)
    began = time.monotonic()
    try:
        with Stage(PREPARE):
            source = obtain(context, claim)
            if not isinstance(source, bytes):
                return source
            image = prepare(source)
        answer = _buy(context, claim, image, claim.attempts + 1, prepared_s=time.monotonic() - began)
        if isinstance(answer, Refusal) and answer.policy.verdict is Verdict.REFIT:
            answer = _buy(context, claim, refit(source), claim.attempts + 2)
    except SourceError as error:
        return error.outcome
    except UnfitImage as error:
        return Fail(error.code, error.message)
    except NoAccountOpenError:
        return Snooze("NOT_BEGUN", "every account is paused", NOT_BEGUN_SNOOZE_S)
    except LimitReached as error:
        return Snooze("LIMIT_REACHED", "all calls that the limit allows are taken", error.retry_in_s)
    except LimiterAway as error:
        return Snooze("LIMITER_AWAY", str(error), NOT_BEGUN_SNOOZE_S)
    return judge(claim, answer) if isinstance(answer, Refusal) else answer


def _buy(
    context: WorkerContext, claim: Claim, image: PreparedImage, number: int, *, prepared_s: float = -1.0
) -> Claim | Outcome | Refusal:
    """One paid call with its two lines in the ledger, unless this worker ends or the call may not go out."""
    if context.stopping.is_set():
        return STOPPING
    begin = partial(
        store.begin_attempt,
        claim=claim,
        number=number,
        image_sha256=hashlib.sha256(image.data).digest(),
        day_budget=context.settings.day_budget,
    )
    with context.slots.slot(longest_wait_s=LONGEST_WAIT_FOR_SLOT_S, prepared_s=prepared_s) as (account, slot):
        if context.stopping.is_set():
            return STOPPING
        if not context.bucket_watch.may_buy:
            return CUT_OFF
        attempt_id = context.patiently(partial(begin, account=account.name))
        if isinstance(attempt_id, NotBegun):
            return not_begun(attempt_id)
        try:
            bought = _exchange(context, claim, attempt_id, image, (account, slot))
        except PostgresAwayError:
            raise
        except Exception as error:
            # From here on the request may have gone out: whatever went wrong, the charge is in doubt.
            log.exception("a call of job %s ended in an error that nobody expected", claim.job_id)
            return Unknown("INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log")
    if isinstance(bought, Refusal):
        return replace(bought, circuit_is_open=slot.circuit_is_open)
    if isinstance(bought, Unknown):
        return replace(bought, in_outage=slot.circuit_is_open)
    return bought


def _exchange(
    context: WorkerContext,
    claim: Claim,
    attempt_id: int,
    image: PreparedImage,
    at: tuple[AccountAtHand, Slot],
) -> Claim | Outcome | Refusal:
    account, slot = at
    # Whatever comes but an answer: the endpoint does not do its work.
    slot.ended(Ending.FAILED, job=claim.job_id)
    try:
        with Stage(TURN):
            slot.await_turn()
        began = time.monotonic()
        with Stage(CALL):
            answer = account.clients.get().cut_out(image, claim.return_form)
    except (NotSent, LimiterAway) as error:
        not_sent = Answer(AttemptOutcome.NOT_CHARGED, code=NOT_SENT, message=str(error))
        call_ended("not-sent", not_sent)
        _end(context, claim, attempt_id, not_sent)
        return Snooze(NOT_SENT, str(error), BACKOFF[Step.CALL].delay(claim.attempts + 1))
    except NoAnswer as error:
        unknown = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER", message=str(error))
        call_ended("no-answer", unknown)
        _end(context, claim, attempt_id, unknown)
        return Unknown("NO_ANSWER", f"{error}; the endpoint may have charged a credit")
    if isinstance(answer, Refused):
        refusal = Refusal(answer, context.policies.of(answer.code, answer.verdict))
        slot.ended(refusal.ending, rest_s=answer.retry_after_s, job=claim.job_id)
        refused = _refusal(answer)
        call_ended(refusal.policy.verdict, refused)
        _end(context, claim, attempt_id, refused)
        if refusal.policy.verdict is Verdict.PAUSE and not answer.may_be_charged:
            _pause(context, account.name, answer)
        return refusal
    slot.ended(Ending.OK, took_s=time.monotonic() - began)
    lifetime = timedelta(seconds=context.settings.result_lifetime_seconds)
    paid = Paid(answer.result_url, lifetime, image.width, image.height)
    accepted = _acceptance(answer)
    call_ended("ok", accepted)
    return _end(context, claim, attempt_id, accepted, paid)


def _end(
    context: WorkerContext, claim: Claim, attempt_id: int, answer: Answer, paid: Paid | None = None
) -> Claim:
    """Write the call's end into the ledger; into the spool first, if Postgres may not live to take it."""
    end = CallEnd(claim.job_id, claim.fence, claim.worker_id, attempt_id, answer, paid)
    write = partial(end.write, claim=claim)
    # A worker that ends may be killed while it waits for a Postgres that does not answer.
    if not context.stopping.is_set():
        with suppress(PostgresAwayError):
            return context.patiently(write, give_up_after_s=0.0)
    with context.spool.keeping(end):
        return context.patiently(write)


def _acceptance(answer: Accepted) -> Answer:
    return Answer(AttemptOutcome.CHARGED, http_status=200, request_id=answer.request_id, log_id=answer.log_id)


def _refusal(answer: Refused) -> Answer:
    return Answer(
        AttemptOutcome.UNKNOWN if answer.may_be_charged else AttemptOutcome.NOT_CHARGED,
        http_status=answer.http_status,
        code=answer.code,
        message=answer.message,
        request_id=answer.request_id,
        log_id=answer.log_id,
    )


def _pause(context: WorkerContext, account: str, answer: Refused) -> None:
    pause = partial(accounts.pause, name=account, code=answer.code, message=answer.message)
    if context.patiently(pause):
        log.warning("the account %s is paused: %s %s", account, answer.code, answer.message)
