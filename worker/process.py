"""One job: claim, call, copy, settle. Short transactions, none of them open while the network is used."""

import logging
import uuid
from functools import partial

from jobs import store
from jobs.outcomes import Outcome, Retry
from jobs.states import Step
from jobs.store import Bounds, Claim
from worker.call import call
from worker.context import WorkerContext
from worker.copy import copy

log = logging.getLogger(__name__)


def process(context: WorkerContext, job_id: uuid.UUID, fence: int) -> None:
    """Carry a job out as far as it goes. A message that is late or repeated ends here without a trace."""
    with context.carried.hold(job_id) as free:
        claim = free and context.patiently(
            partial(store.claim, job_id=job_id, fence=fence, worker_id=context.worker_id)
        )
        if not claim:
            log.debug("job %s is not to be had under fence %d", job_id, fence)
            return
        claim, outcome = _carry_out(context, claim)
        bounds = Bounds(context.settings.retry_unknown, context.settings.retry_lost)
        if not context.patiently(partial(store.settle, claim=claim, outcome=outcome, bounds=bounds)):
            log.warning("job %s was taken from this worker; %s is void", job_id, type(outcome).__name__)


def _carry_out(context: WorkerContext, claim: Claim) -> tuple[Claim, Outcome]:
    try:
        if claim.step is Step.CALL:
            called = call(context, claim)
            if not isinstance(called, Claim):
                return claim, called
            claim = called
        return claim, copy(context, claim)
    except Exception as error:
        # Whatever a picture, a server or a bug of ours brings up must not take the job with it.
        log.exception("job %s met an error that nobody expected", claim.job_id)
        return claim, Retry(
            claim.step, "INTERNAL_ERROR", f"{type(error).__name__} in the worker; see its log"
        )
