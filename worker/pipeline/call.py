"""The paid step: prepare the picture, wait for a slot, record the attempt, call, record the answer."""

import hashlib
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Self

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
from cutout.queue.claims import NOT_SENT, Claim, PaidResult
from cutout.queue.reuse.identity import Recipe
from worker.limiter.limiter import LimiterAway, LimiterError, LimiterFeedback, LimitReached, Slot, SlotLapsed
from worker.limiter.slots import EndpointAccount, NoAccountOpenError
from worker.metrics import call_ended
from worker.pipeline.call_record import AnswerNotWrittenError, CallRecord
from worker.pipeline.context import WorkerContext
from worker.pipeline.fetch_source import FetchedSource, fetch_source
from worker.pipeline.refusals import NOT_BEGUN, NOT_BEGUN_SNOOZE_S, ClassifiedRefusal
from worker.pipeline.reuse import serve_as_sent
from worker.pipeline.sources import SourceError
from worker.stage import CALL, PREPARE, TURN, Stage

log = logging.getLogger(__name__)

LONGEST_WAIT_FOR_SLOT_S = 3.0
# A slot is held meanwhile, which others wait for.
BEGIN_PATIENCE_S = 3.0
CUT_OFF = Snooze("WORKER_CUT_OFF", "its worker checks whether it reaches the bucket", 1.0)
STOPPING = Snooze("WORKER_STOPPING", "its worker stops; another one continues it", 0.0)


def call(context: WorkerContext, claim: Claim) -> Claim | Outcome:
    """Buy the cutout: the claim with its paid result, or the job's outcome if there is none."""
    if not context.bucket_watch.may_buy:
        return CUT_OFF
    if claim.calls >= context.settings.most_calls_per_job:
        reason = f"called {claim.calls} times without a result; raise CUTOUT_MOST_CALLS_PER_JOB or cancel it"
        return Hold("TOO_MANY_CALLS", reason)
    began = time.monotonic()
    recipe = context.recipe_for(claim.producer_id)
    try:
        with Stage(PREPARE):
            source = fetch_source(context, claim, recipe)
            if not isinstance(source, FetchedSource):
                return source
            prepared = context.preparer.prepare(
                source.data, owner=claim.producer_id, in_child=claim.deaths > 0
            )
            picture = Picture.of(source, prepared, recipe)
        answer = _buy(context, claim, picture, claim.attempts + 1, prepared_s=time.monotonic() - began)
        if isinstance(answer, ClassifiedRefusal) and answer.policy.verdict is Verdict.REFIT:
            refitted = context.preparer.refit(source.data, owner=claim.producer_id)
            answer = _buy(context, claim, Picture.of(source, refitted, recipe), claim.attempts + 2)
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
    return answer.outcome(claim) if isinstance(answer, ClassifiedRefusal) else answer


@dataclass(frozen=True, slots=True)
class Picture:
    """A prepared picture, its SHA-256, and the SHA-256 of the source and the recipe that it is made by."""

    image: PreparedImage
    sha256: bytes
    source_sha256: bytes
    recipe: Recipe
    made_otherwise: bool

    @classmethod
    def of(cls, source: FetchedSource, image: PreparedImage, recipe: Recipe) -> Self:
        """A picture of this source. Most are sent as they are, and hashed once."""
        sha256 = hashlib.sha256(image.data).digest()
        source_sha256 = source.sha256
        if source_sha256 is None:
            is_untouched = image.data is source.data
            source_sha256 = sha256 if is_untouched else hashlib.sha256(source.data).digest()
        return cls(image, sha256, source_sha256, recipe, source.made_otherwise)


def _buy(
    context: WorkerContext, claim: Claim, picture: Picture, number: int, *, prepared_s: float = -1.0
) -> Claim | Outcome | ClassifiedRefusal:
    """Make one paid call, recorded before and after, unless this worker stops or the call may not go out.

    No call is made for a picture that another preparation made into the same bytes and bought.
    """
    if picture.made_otherwise:
        outcome = serve_as_sent(context, claim, picture.source_sha256, picture.recipe, picture.sha256)
        if outcome is not None:
            return outcome
    if context.stopping.is_set():
        return STOPPING
    try:
        with context.slots.slot(longest_wait_s=LONGEST_WAIT_FOR_SLOT_S, prepared_s=prepared_s) as held:
            account, slot = held
            if context.stopping.is_set():
                return STOPPING
            if not context.bucket_watch.may_buy:
                return CUT_OFF
            attempt_id = context.store.within(BEGIN_PATIENCE_S).begin_attempt(
                claim,
                number=number,
                account=account.name,
                image_sha256=picture.sha256,
                source_sha256=picture.source_sha256,
                recipe=picture.recipe,
                day_budget=context.settings.day_budget,
            )
            if isinstance(attempt_id, NotBegun):
                return _not_begun(context, claim, attempt_id, picture)
            slot.keep()
            begun = time.monotonic()
            try:
                end = _exchange(context, claim, picture.image, account, slot)
            except Exception as error:
                # From here on the request may have gone out: after any error the charge is in doubt.
                log.exception("unexpected error in a call of job %s", claim.job_id)
                return Unknown("INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log")
            record = CallRecord(
                claim.job_id,
                claim.fence,
                claim.worker_id,
                attempt_id,
                end.answer,
                end.paid,
                timedelta(seconds=context.settings.result_lifetime_seconds),
                answered_after=timedelta(seconds=end.at - begun),
            )
            # Giving the slot back may wait for Redis, and the record for Postgres.
            watched = context.spool.watch(record)
    except (PostgresAwayError, SlotLapsed) as error:
        return _withdraw(context, claim, number, error)
    # The slot is free: however long it takes to record the answer, others may call meanwhile.
    with watched:
        claim = claim.with_result(_record(context, record))
    return _continue(context, claim, end, account.name, slot)


def _not_begun(context: WorkerContext, claim: Claim, why: NotBegun, picture: Picture) -> Outcome:
    if why is NotBegun.HELD:
        store = context.store.within(BEGIN_PATIENCE_S)
        held = store.find_held_picture(claim, picture.source_sha256, picture.recipe)
        if held is not None:
            if not held.is_own:
                return Hold(
                    held.code, "the same picture is held for another producer; retry this job to call"
                )
            message = f"the same picture is held as job {held.job_id}: {held.message}; retry either of them"
            return Hold(held.code, message)
    return NOT_BEGUN[why]


def _withdraw(context: WorkerContext, claim: Claim, number: int, error: Exception) -> Outcome:
    """End an attempt that may have been recorded though no call went out."""
    why = f"no call went out: {error}"
    context.store.withdraw_attempt(claim, number, why)
    return Snooze("NOT_BEGUN", why, NOT_BEGUN_SNOOZE_S)


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """The end of a call: the answer for the ledger, what comes of it, and when it came (monotonic).

    Without an `outcome` the job continues with the copy of the `paid` result.
    """

    answer: Answer
    outcome: Outcome | ClassifiedRefusal | None = None
    paid: PaidResult | None = None
    at: float = field(default_factory=time.monotonic)


def _exchange(
    context: WorkerContext, claim: Claim, image: PreparedImage, account: EndpointAccount, slot: Slot
) -> FinishedCall:
    """Send the picture and read the answer. Nothing is recorded here: the slot is held."""
    # Unless an answer comes, the endpoint has failed.
    slot.ended(LimiterFeedback.FAILED, job=claim.job_id)
    try:
        with Stage(TURN):
            slot.await_turn()
        began = time.monotonic()
        with Stage(CALL):
            answer = account.clients.get().cut_out(image, claim.bought_form, departure=slot)
    except (NotSent, LimiterError) as error:
        if isinstance(error, LimiterError):
            slot.ended(LimiterFeedback.UNUSED)
        not_sent = Answer(AttemptOutcome.NOT_CHARGED, code=NOT_SENT, message=str(error))
        call_ended("not-sent", not_sent, claim.producer_id)
        delay_s = BACKOFF[Step.CALL].delay(claim.attempts + 1)
        return FinishedCall(not_sent, Snooze(NOT_SENT, str(error), delay_s))
    except NoAnswer as error:
        unknown = Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER", message=str(error))
        call_ended("no-answer", unknown, claim.producer_id)
        return FinishedCall(unknown, Unknown("NO_ANSWER", f"{error}; the endpoint may have charged a credit"))
    if isinstance(answer, Refused):
        refusal = ClassifiedRefusal(answer, context.policies.of(answer.code, answer.verdict))
        slot.ended(refusal.feedback, rest_s=answer.retry_after_s)
        refused = _refused(answer)
        call_ended(refusal.policy.verdict, refused, claim.producer_id)
        return FinishedCall(refused, refusal)
    slot.ended(LimiterFeedback.OK, took_s=time.monotonic() - (slot.sent_at or began))
    accepted = _accepted(answer, image)
    call_ended("ok", accepted, claim.producer_id)
    return FinishedCall(accepted, paid=PaidResult(answer.result_url, image.width, image.height))


def _record(context: WorkerContext, record: CallRecord) -> PaidResult | None:
    """Write the call's end to the ledger; to the spool first, if that does not succeed at once.

    Raises AnswerNotWrittenError if Postgres refuses it: the spool holds the answer then.
    """
    # A worker that stops may be killed while it waits for a Postgres that does not answer.
    if not context.stopping.is_set():
        try:
            return context.store.within(0.0).write_call(record)
        except Exception as error:  # noqa: BLE001 - the answer is on disk before anything is raised
            log.warning("the end of a call of job %s goes to the spool (%s)", record.job_id, kind_of(error))
    try:
        with context.spool.keeping(record):
            return context.store.write_call(record)
    except PostgresAwayError:
        raise
    except Exception as error:
        log.exception("Postgres refuses the end of a call of job %s", record.job_id)
        raise AnswerNotWrittenError(f"its answer is in the spool ({kind_of(error)})") from error


def _continue(
    context: WorkerContext, claim: Claim, end: FinishedCall, account: str, slot: Slot
) -> Claim | Outcome | ClassifiedRefusal:
    """The claim, or the job's outcome, once the call's end is recorded and its slot given back."""
    outcome = end.outcome
    if outcome is None:
        return claim
    if isinstance(outcome, Unknown):
        return replace(outcome, in_outage=slot.circuit_is_open)
    if not isinstance(outcome, ClassifiedRefusal):
        return outcome
    met_alone = None
    if outcome.policy.verdict is Verdict.PAUSE and not outcome.answer.may_be_charged:
        met_alone = _pause(context, account, claim, outcome.answer)
    return replace(outcome, circuit_is_open=slot.circuit_is_open, met_alone=met_alone)


def _accepted(answer: Accepted, image: PreparedImage) -> Answer:
    return Answer(
        AttemptOutcome.CHARGED,
        http_status=200,
        message="; ".join(image.notes) or None,
        request_id=answer.request_id,
        log_id=answer.log_id,
    )


def _refused(answer: Refused) -> Answer:
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
    """Pause the account; for an answer that a firewall may give to this picture alone, once another job met
    it too.

    Returns how often this job met it while no other did; None if the account is paused for it.
    """
    code, message, met_alone = answer.code, answer.message, None
    if answer.is_the_endpoints:
        paused = context.store.pause_account(account, code=code, message=message)
    else:
        doubt = context.store.doubt_refusal(account, job_id=claim.job_id, code=code, message=message)
        paused, met_alone = doubt.pauses, doubt.met_alone
    if paused:
        log.warning("the account %s is paused: %s %s", account, code, message)
    return met_alone
