"""The paid step: prepare the picture, wait for a slot, write the intent down, call, write the answer down."""

import hashlib
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Self

from cutout import queue
from cutout.billing import accounts, doubted_refusals
from cutout.endpoint.answer import Accepted, Refused
from cutout.endpoint.endpoint_errors import NoAnswer, NotSent
from cutout.endpoint.verdicts import Verdict
from cutout.enums import AttemptOutcome, Step
from cutout.images.image import PreparedImage
from cutout.images.unfit_image import UnfitImage
from cutout.models.database import PostgresAwayError, kind_of
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Snooze, Unknown
from cutout.queue.backoff import BACKOFF
from cutout.queue.claims import NOT_SENT, Claim
from worker.limiter.limiter import LimiterAway, LimiterError, LimiterFeedback, LimitReached, Slot, SlotLapsed
from worker.limiter.slots import AccountAtHand, NoAccountOpenError
from worker.metrics import call_ended
from worker.pipeline.call_record import AnswerNotWrittenError, CallRecord, PaidCall
from worker.pipeline.context import WorkerContext
from worker.pipeline.fetch_source import Obtained, fetch_source
from worker.pipeline.refusals import NOT_BEGUN_SNOOZE_S, ClassifiedRefusal, judge, not_begun
from worker.pipeline.reuse import served_as_sent
from worker.pipeline.sources import SourceError
from worker.stage import CALL, PREPARE, TURN, Stage

log = logging.getLogger(__name__)

LONGEST_WAIT_FOR_SLOT_S = 3.0
# Whoever holds a slot and cannot reach Postgres keeps it from the others.
BEGIN_PATIENCE_S = 3.0
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
            source = fetch_source(context, claim)
            if not isinstance(source, Obtained):
                return source
            prepared = context.preparer.prepare(
                source.data, owner=claim.producer_id, in_child=claim.deaths > 0
            )
            picture = Picture.of(source, prepared)
        answer = _buy(context, claim, picture, claim.attempts + 1, prepared_s=time.monotonic() - began)
        if isinstance(answer, ClassifiedRefusal) and answer.policy.verdict is Verdict.REFIT:
            again = Picture.of(source, context.preparer.refit(source.data, owner=claim.producer_id))
            answer = _buy(context, claim, again, claim.attempts + 2)
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
    return judge(claim, answer) if isinstance(answer, ClassifiedRefusal) else answer


@dataclass(frozen=True, slots=True)
class Picture:
    """What is sent, and the SHA-256 of it and of the source that it was made of."""

    image: PreparedImage
    sha256: bytes
    source_sha256: bytes
    made_otherwise: bool

    @classmethod
    def of(cls, source: Obtained, image: PreparedImage) -> Self:
        """Most pictures are sent as they are: their bytes are hashed once."""
        sha256 = hashlib.sha256(image.data).digest()
        source_sha256 = source.sha256
        if source_sha256 is None:
            is_untouched = image.data is source.data
            source_sha256 = sha256 if is_untouched else hashlib.sha256(source.data).digest()
        return cls(image, sha256, source_sha256, source.made_otherwise)


def _buy(
    context: WorkerContext, claim: Claim, picture: Picture, number: int, *, prepared_s: float = -1.0
) -> Claim | Outcome | ClassifiedRefusal:
    """One paid call with its two lines in the ledger, unless this worker ends or the call may not go out.

    Nor is there one for a picture that another preparation made into the same bytes and bought.
    """
    if picture.made_otherwise:
        outcome = served_as_sent(context, claim, picture.source_sha256, picture.sha256)
        if outcome is not None:
            return outcome
    if context.stopping.is_set():
        return STOPPING
    begin = partial(
        queue.begin_attempt,
        claim=claim,
        number=number,
        image_sha256=picture.sha256,
        source_sha256=picture.source_sha256,
        recipe=context.making_for(claim.producer_id),
        day_budget=context.settings.day_budget,
    )
    try:
        with context.slots.slot(longest_wait_s=LONGEST_WAIT_FOR_SLOT_S, prepared_s=prepared_s) as held:
            account, slot = held
            if context.stopping.is_set():
                return STOPPING
            if not context.bucket_watch.may_buy:
                return CUT_OFF
            attempt_id = context.patiently(
                partial(begin, account=account.name), give_up_after_s=BEGIN_PATIENCE_S
            )
            if isinstance(attempt_id, NotBegun):
                return _not_begun(context, claim, attempt_id, picture.source_sha256)
            slot.keep()
            begun = time.monotonic()
            try:
                heard = _exchange(context, claim, picture.image, held)
            except Exception as error:
                # From here on the request may have gone out: whatever went wrong, the charge is in doubt.
                log.exception("a call of job %s ended in an error that nobody expected", claim.job_id)
                return Unknown("INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log")
            end = heard.end(claim, attempt_id, begun)
            # Redis may keep the slot's return waiting, and Postgres the answer.
            context.spool.watch(end)
    except (PostgresAwayError, SlotLapsed) as error:
        return _withdraw(context, claim, number, error)
    # The slot is free: however long it takes to write the answer down, others may call meanwhile.
    return _write_down(context, claim, end, heard, (account.name, slot))


def _not_begun(context: WorkerContext, claim: Claim, why: NotBegun, source_sha256: bytes) -> Outcome:
    if why is NotBegun.HELD:
        recipe = context.making_for(claim.producer_id)
        find = partial(queue.find_held_picture, claim=claim, source_sha256=source_sha256, recipe=recipe)
        held = context.patiently(find, give_up_after_s=BEGIN_PATIENCE_S)
        if held is not None:
            if not held.is_own:
                return Hold(
                    held.code, "the same picture is held for another producer; retry this job to call"
                )
            message = f"the same picture is held as job {held.job_id}: {held.message}; retry either of them"
            return Hold(held.code, message)
    return not_begun(why)


def _withdraw(context: WorkerContext, claim: Claim, number: int, error: Exception) -> Outcome:
    """No call went out, and it may be written down all the same."""
    why = f"no call went out: {error}"
    context.patiently(partial(queue.withdraw_attempt, claim=claim, number=number, why=why))
    return Snooze("NOT_BEGUN", why, NOT_BEGUN_SNOOZE_S)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A call's end: what the ledger keeps of it, what it brought, and what becomes of the job.

    Without a `then` the job goes on with its copy. `at` is when it came (monotonic).
    """

    answer: Answer
    then: Outcome | ClassifiedRefusal | None = None
    paid: PaidCall | None = None
    at: float = field(default_factory=time.monotonic)

    def end(self, claim: Claim, attempt_id: int, begun: float) -> CallRecord:
        """What the ledger gets of it; its call was begun at `begun` (monotonic)."""
        return CallRecord(
            claim.job_id,
            claim.fence,
            claim.worker_id,
            attempt_id,
            self.answer,
            self.paid,
            answered_after=timedelta(seconds=self.at - begun),
        )


def _exchange(
    context: WorkerContext, claim: Claim, image: PreparedImage, at: tuple[AccountAtHand, Slot]
) -> _Heard:
    """The call itself. Nothing is written down here: the slot is held."""
    account, slot = at
    # Whatever comes but an answer: the endpoint does not do its work.
    slot.ended(LimiterFeedback.FAILED, job=claim.job_id)
    try:
        with Stage(TURN):
            slot.await_turn()
        began = time.monotonic()
        with Stage(CALL):
            answer = account.clients.get().cut_out(image, claim.return_form, departure=slot)
    except (NotSent, LimiterError) as error:
        if isinstance(error, LimiterError):
            slot.ended(LimiterFeedback.UNUSED)
        not_sent = Answer(AttemptOutcome.NOT_CHARGED, code=NOT_SENT, message=str(error))
        call_ended("not-sent", not_sent)
        delay_s = BACKOFF[Step.CALL].delay(claim.attempts + 1)
        return _Heard(not_sent, Snooze(NOT_SENT, str(error), delay_s))
    except NoAnswer as error:
        unknown = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER", message=str(error))
        call_ended("no-answer", unknown)
        return _Heard(unknown, Unknown("NO_ANSWER", f"{error}; the endpoint may have charged a credit"))
    if isinstance(answer, Refused):
        refusal = ClassifiedRefusal(answer, context.policies.of(answer.code, answer.verdict))
        slot.ended(refusal.ending, rest_s=answer.retry_after_s, job=claim.job_id)
        refused = _refusal(answer)
        call_ended(refusal.policy.verdict, refused)
        return _Heard(refused, refusal)
    slot.ended(LimiterFeedback.OK, took_s=time.monotonic() - (slot.sent_at or began))
    lifetime = timedelta(seconds=context.settings.result_lifetime_seconds)
    accepted = _acceptance(answer, image)
    call_ended("ok", accepted)
    return _Heard(accepted, paid=PaidCall(answer.result_url, lifetime, image.width, image.height))


def _write_down(
    context: WorkerContext, claim: Claim, end: CallRecord, heard: _Heard, at: tuple[str, Slot]
) -> Claim | Outcome | ClassifiedRefusal:
    account, slot = at
    with context.spool.watched(end):
        claim = _end(context, claim, end)
    if heard.then is None:
        return claim
    if isinstance(heard.then, Unknown):
        return replace(heard.then, in_outage=slot.circuit_is_open)
    if not isinstance(heard.then, ClassifiedRefusal):
        return heard.then
    refused = heard.then.answer
    met_alone = None
    if heard.then.policy.verdict is Verdict.PAUSE and not refused.may_be_charged:
        met_alone = _pause(context, account, claim, refused)
    return replace(heard.then, circuit_is_open=slot.circuit_is_open, met_alone=met_alone)


def _end(context: WorkerContext, claim: Claim, end: CallRecord) -> Claim:
    """Write the call's end into the ledger; into the spool first, if that did not succeed at once.

    Raises AnswerNotWrittenError for what Postgres refuses, whatever it is: the spool holds the answer then.
    """
    write = partial(end.write, claim=claim)
    # A worker that ends may be killed while it waits for a Postgres that does not answer.
    if not context.stopping.is_set():
        try:
            return context.patiently(write, give_up_after_s=0.0)
        except Exception as error:  # noqa: BLE001 - what was paid for is on disk before anything is raised
            log.warning("the end of a call of job %s goes to the spool (%s)", claim.job_id, kind_of(error))
    try:
        with context.spool.keeping(end):
            return context.patiently(write)
    except PostgresAwayError:
        raise
    except Exception as error:
        log.exception("Postgres refuses the end of a call of job %s", claim.job_id)
        raise AnswerNotWrittenError(f"its answer is in the spool ({kind_of(error)})") from error


def _acceptance(answer: Accepted, image: PreparedImage) -> Answer:
    return Answer(
        AttemptOutcome.CHARGED,
        http_status=200,
        message="; ".join(image.notes) or None,
        request_id=answer.request_id,
        log_id=answer.log_id,
    )


def _refusal(answer: Refused) -> Answer:
    return Answer(
        AttemptOutcome.UNKNOWN if answer.may_be_charged else AttemptOutcome.NOT_CHARGED,
        http_status=answer.http_status,
        code=answer.code,
        message=answer.message,
        request_id=answer.request_id,
        log_id=answer.log_id,
        raw_answer=answer.raw,
    )


def _pause(context: WorkerContext, account: str, claim: Claim, answer: Refused) -> int | None:
    """Stop the account's calls. What a firewall may have said of this picture alone takes another job's word.

    Returns how often this job met it without such a word; None if the account stands still.
    """
    code, message, met_alone = answer.code, answer.message, None
    if answer.is_the_endpoints:
        paused = context.patiently(partial(accounts.pause, name=account, code=code, message=message))
    else:
        doubting = partial(
            doubted_refusals.doubt, name=account, job_id=claim.job_id, code=code, message=message
        )
        doubt = context.patiently(doubting)
        paused, met_alone = doubt.pauses, doubt.met_alone
    if paused:
        log.warning("the account %s is paused: %s %s", account, answer.code, answer.message)
    return met_alone
