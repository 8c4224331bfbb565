"""The paid step: prepare the picture, wait for a slot, write the intent down, call, write the answer down."""

import hashlib
import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial

from jobs import accounts, store
from jobs.backoff import BACKOFF
from jobs.database import PostgresAwayError
from jobs.outcomes import Fail, Hold, Outcome, Retry, Snooze, Unknown
from jobs.states import AttemptOutcome, Step
from jobs.store import NOT_SENT, Answer, Claim
from worker.call_end import CallEnd, Paid
from worker.context import WorkerContext
from worker.endpoint.answer import Accepted, Refused
from worker.endpoint.errors import NoAnswer, NotSent, UnfitImage
from worker.endpoint.image import PreparedImage, prepare, refit
from worker.endpoint.limiter import LimiterAway, LimitReached
from worker.endpoint.verdicts import Verdict
from worker.sources import SourceError

log = logging.getLogger(__name__)

LONGEST_WAIT_FOR_SLOT_S = 3.0
NOT_BEGUN_SNOOZE_S = 5.0
PAUSED_SNOOZE_S = 30.0
TRIES_OF_A_CODE_WITHOUT_MEANING = 2
STOPPING = Snooze("WORKER_STOPPING", "its worker ends; it goes on elsewhere", 0.0)


def call(context: WorkerContext, claim: Claim) -> Claim | Outcome:
    """Buy the cutout: the claim with its paid result, or why there is none."""
    if claim.calls >= context.settings.most_calls_per_job:
        reason = f"called {claim.calls} times without a result; raise CUTOUT_MOST_CALLS_PER_JOB or cancel it"
        return Hold("TOO_MANY_CALLS", reason)
    try:
        source = context.sources.read(claim.source)
        answer = _buy(context, claim, prepare(source), number=claim.attempts + 1)
        if isinstance(answer, Refused) and answer.verdict is Verdict.REFIT:
            answer = _buy(context, claim, refit(source), number=claim.attempts + 2)
    except SourceError as error:
        return error.outcome
    except UnfitImage as error:
        return Fail(error.code, error.message)
    except LimitReached as error:
        return Snooze("LIMIT_REACHED", "all calls that the limit allows are taken", error.retry_in_s)
    except LimiterAway as error:
        return Snooze("LIMITER_AWAY", str(error), NOT_BEGUN_SNOOZE_S)
    return _judge(context, claim, answer) if isinstance(answer, Refused) else answer


def _buy(
    context: WorkerContext, claim: Claim, image: PreparedImage, *, number: int
) -> Claim | Outcome | Refused:
    """One paid call with its two lines in the ledger, unless this worker ends."""
    if context.stopping.is_set():
        return STOPPING
    begin = partial(
        store.begin_attempt,
        claim=claim,
        number=number,
        account=context.account,
        image_sha256=hashlib.sha256(image.data).digest(),
    )
    with context.limiter.slot(longest_wait_s=LONGEST_WAIT_FOR_SLOT_S):
        if context.stopping.is_set():
            return STOPPING
        attempt_id = context.patiently(begin)
        if attempt_id is None:
            return Snooze("NOT_BEGUN", "the account is paused, or the bucket away", NOT_BEGUN_SNOOZE_S)
        try:
            return _exchange(context, claim, attempt_id, image, number)
        except PostgresAwayError:
            raise
        except Exception as error:
            # From here on the request may have gone out: whatever went wrong, the charge is in doubt.
            log.exception("a call of job %s ended in an error that nobody expected", claim.job_id)
            return Unknown("INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log")


def _exchange(
    context: WorkerContext, claim: Claim, attempt_id: int, image: PreparedImage, number: int
) -> Claim | Outcome | Refused:
    try:
        answer = context.endpoint.cut_out(image, claim.return_form)
    except NotSent as error:
        not_sent = Answer(AttemptOutcome.NOT_CHARGED, code=NOT_SENT, message=str(error))
        _end(context, claim, attempt_id, not_sent)
        return Snooze(NOT_SENT, str(error), BACKOFF[Step.CALL].delay(number))
    except NoAnswer as error:
        unknown = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER", message=str(error))
        _end(context, claim, attempt_id, unknown)
        return Unknown("NO_ANSWER", f"{error}; the endpoint may have charged a credit")
    if isinstance(answer, Refused):
        _end(context, claim, attempt_id, _refusal(answer))
        return answer
    lifetime = timedelta(seconds=context.settings.result_lifetime_seconds)
    paid = Paid(answer.result_url, lifetime, image.width, image.height)
    return _end(context, claim, attempt_id, _acceptance(answer), paid)


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


def _judge(context: WorkerContext, claim: Claim, answer: Refused) -> Outcome:
    """What a refusal means for the job, by its verdict."""
    code, message = answer.code, answer.message
    if answer.may_be_charged:
        return Unknown(code, f"{message}; the endpoint may have charged a credit")
    match answer.verdict:
        case Verdict.RETRY:
            return Retry(Step.CALL, code, message, after_seconds=answer.retry_after_s)
        case Verdict.SLOW:
            seconds = answer.retry_after_s or BACKOFF[Step.CALL].delay(claim.attempts + 1)
            return Snooze(code, message, seconds)
        case Verdict.PAUSE:
            log.warning("the account %s is paused: %s %s", context.account, code, message)
            context.patiently(partial(accounts.pause, name=context.account, code=code, message=message))
            return Snooze(code, message, PAUSED_SNOOZE_S)
        case Verdict.UNKNOWN:
            return Retry(Step.CALL, code, message, most_tries=TRIES_OF_A_CODE_WITHOUT_MEANING)
        case Verdict.REFIT | Verdict.FAIL:
            return Fail(code, message)
