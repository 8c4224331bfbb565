"""One job: claim, call, copy, settle. Transactions are short; none is open while the network is used."""

import logging
import uuid

from cutout.enums import Step
from cutout.models.database import PostgresAwayError
from cutout.queue.attempts.outcomes import Hold, Outcome, Retry, Snooze, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.settle import RetryLimits
from cutout.queue.signals import Signal
from cutout.telemetry import logs, traces
from worker.metrics import settled
from worker.pipeline.call import call
from worker.pipeline.call_record import AnswerNotWrittenError
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy import copy
from worker.pipeline.paid_result import forget_saved
from worker.stage import COPY, Stage

log = logging.getLogger(__name__)

DEATHS_BEFORE_ALONE = 2
# Calls that are out when it begins to wait end by their deadline; their copies take a while.
ALONE_AFTER_A_CALL_S = 60.0
NOT_ALONE = Snooze("WAITS_TO_BE_ALONE", "workers died with it: it must be the only job of its worker", 5.0)


def process(context: WorkerContext, job_id: uuid.UUID, fence: int) -> None:
    """Process a dispatched job up to its outcome; a worker that stops hands it back instead.

    A message that is late or repeated changes nothing.
    """
    with logs.about(job_id=str(job_id)):
        try:
            _process(context, job_id, fence)
        except (PostgresAwayError, AnswerNotWrittenError) as error:
            log.warning("job %s is left to the rescue: %s", job_id, error)


def _process(context: WorkerContext, job_id: uuid.UUID, fence: int) -> None:
    with context.in_flight.hold(job_id, fence) as is_free, context.room.shared(context.stopping):
        if context.stopping.is_set():
            context.store.hand_back(job_id, fence)
            return
        claim = is_free and context.store.claim(job_id, fence, context.worker_id)
        if not claim:
            log.debug("job %s cannot be claimed under fence %d", job_id, fence)
            return
        if claim.batch_id is not None:
            logs.note(batch_id=str(claim.batch_id))
        if claim.producer_id is not None:
            logs.note(producer_id=str(claim.producer_id))
        with traces.joined("job", claim.trace, {"cutout.job_id": str(job_id)}):
            if claim.deaths < DEATHS_BEFORE_ALONE:
                claim, outcome = _call_and_copy(context, claim)
            else:
                claim, outcome = _call_and_copy_alone(context, claim)
            if not _settle(context, claim, outcome):
                log.warning("job %s was taken from this worker; %s is void", job_id, type(outcome).__name__)
                return
            settled(outcome)
            if claim.is_awaited:
                context.signals.send(Signal.ENDED)
            if isinstance(outcome, Succeeded):
                forget_saved(context, claim)


def _settle(context: WorkerContext, claim: Claim, outcome: Outcome) -> bool:
    limits = RetryLimits(context.settings.retry_unknown, context.settings.retry_lost)
    try:
        return context.store.settle(claim, outcome, limits)
    except PostgresAwayError:
        raise
    except Exception as error:
        # Dispatched again, the job would only fail again: a person decides on what cannot be written.
        log.exception("the outcome of job %s cannot be written", claim.job_id)
        reason = f"{type(error).__name__} when its outcome was written; see the worker's log"
        return context.store.settle(claim, Hold("INTERNAL_ERROR", reason))


def _call_and_copy_alone(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    """Should it kill this worker too, no call of another job is out, so that none is in doubt."""
    within_s = context.settings.call_deadline_seconds + ALONE_AFTER_A_CALL_S
    with context.room.alone(context.stopping, within_s=within_s) as is_alone:
        if is_alone:
            log.warning("job %s is carried out alone: %d workers died with it", claim.job_id, claim.deaths)
            return _call_and_copy(context, claim)
    return claim, NOT_ALONE


def _call_and_copy(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    if claim.step is Step.CALL:
        try:
            called = call(context, claim)
        except (PostgresAwayError, AnswerNotWrittenError):
            raise
        except Exception as error:
            # No picture, server or bug of ours may cost the job.
            log.exception("unexpected error in the call of job %s", claim.job_id)
            return claim, Retry(
                Step.CALL, "INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log"
            )
        if not isinstance(called, Claim):
            return claim, called
        claim = called
    with Stage(COPY):
        return copy(context, claim)
