"""What a refusal by the endpoint, or by our own brakes, means for the job."""

from dataclasses import dataclass

from cutout.endpoint.answer import Refused
from cutout.endpoint.verdicts import Policy, Verdict
from cutout.enums import Step
from cutout.queue.attempts.attempts import NotBegun
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Retry, Snooze, Unknown
from cutout.queue.claims import Claim
from worker.limiter.limiter import Ending

NOT_BEGUN_SNOOZE_S = 5.0
PAUSED_SNOOZE_S = 2.0
# Of an answer that a firewall seems to give to one picture: 5 s and 30 s between, then a person decides.
MOST_MET_ALONE = 3
LONGER_EACH_TIME = 6
# Its quota is shared with the endpoint's other customers.
SHARED_QUOTA = "AI_SERVICE_FLOW_RESTRICTION"

NOT_BEGUN: dict[NotBegun, Outcome] = {
    NotBegun.LOST: Snooze("NOT_BEGUN", "the claim was lost", 0.0),
    NotBegun.AGAIN: Snooze("NOT_BEGUN", "what may be called changed meanwhile", 0.0),
    NotBegun.ACCOUNT: Snooze("NOT_BEGUN", "the account is paused", NOT_BEGUN_SNOOZE_S),
    NotBegun.BUCKET: Snooze("NOT_BEGUN", "the bucket is away", NOT_BEGUN_SNOOZE_S),
    # Settling ends such a job.
    NotBegun.CANCELLED: Snooze("NOT_BEGUN", "it was cancelled", 0.0),
    NotBegun.APPROVAL: Snooze("NOT_BEGUN", "its batch waits for approval", PAUSED_SNOOZE_S),
    NotBegun.RESULTS: Snooze("NOT_BEGUN", "paid results cannot be fetched or stored", NOT_BEGUN_SNOOZE_S),
    NotBegun.SUSPENDED: Snooze("PRODUCER_SUSPENDED", "its producer is suspended", PAUSED_SNOOZE_S),
    NotBegun.PAUSED: Snooze("PAUSED_BY_HAND", "it was paused by hand", PAUSED_SNOOZE_S),
    NotBegun.WINDOW: Snooze("WINDOW_CLOSED", "its batch's window is not open", PAUSED_SNOOZE_S),
    NotBegun.DAY: Snooze("DAY_BUDGET_SPENT", "the day's budget of credits is spent", NOT_BEGUN_SNOOZE_S),
    # Unless it is not held any more, it is told as what.
    NotBegun.HELD: Snooze("NOT_BEGUN", "the same picture was held a moment ago", 0.0),
    NotBegun.BUDGET: Hold(
        "OVER_BUDGET", "its batch has spent its budget; raise it with `cutout budget`", parked=True
    ),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused call and what is to be done about its code.

    `met_alone` counts, where it would stop the account and no other job met it, how often this one did.
    """

    answer: Refused
    policy: Policy
    circuit_is_open: bool = False
    met_alone: int | None = None

    @property
    def ending(self) -> Ending:
        """What it says about the limit."""
        if self.answer.may_be_charged:
            return Ending.FAILED
        match self.policy.verdict:
            case Verdict.SLOW:
                return Ending.FLOW if self.answer.code == SHARED_QUOTA else Ending.SLOW
            case Verdict.RETRY:
                return Ending.FAILED
            case Verdict.PAUSE:
                return Ending.UNUSED
            case Verdict.REFIT | Verdict.FAIL | Verdict.UNKNOWN:
                return Ending.OK


def not_begun(why: NotBegun) -> Outcome:
    """What becomes of a job whose call did not go out."""
    return NOT_BEGUN[why]


def judge(claim: Claim, refusal: Refusal) -> Outcome:
    """What a refusal means for the job, by its code's policy."""
    answer, policy = refusal.answer, refusal.policy
    code, message = answer.code, answer.message
    if answer.may_be_charged:
        doubt = f"{message}; the endpoint may have charged a credit"
        return Unknown(code, doubt, in_outage=refusal.circuit_is_open)
    match policy.verdict:
        case Verdict.RETRY | Verdict.UNKNOWN:
            rest = _rest(refusal, claim.tries + 1)
            if refusal.circuit_is_open:
                # It fails for everybody: no fault of this job's.
                return Snooze(code, f"{message}; calls of all jobs fail", rest)
            return Retry(Step.CALL, code, message, after_seconds=rest, most_tries=policy.tries)
        case Verdict.SLOW:
            if policy.tries is not None and claim.calls + 1 >= policy.tries:
                return Hold("TOO_MANY_CALLS", f"refused {claim.calls + 1} times, last by {code}: {message}")
            return Snooze(code, message, _rest(refusal, claim.calls + 1))
        case Verdict.PAUSE:
            return _paused(refusal)
        case Verdict.REFIT | Verdict.FAIL:
            return Fail(code, message)


def _paused(refusal: Refusal) -> Outcome:
    code, message, times = refusal.answer.code, refusal.answer.message, refusal.met_alone
    if times is None:
        return Snooze(code, message, NOT_BEGUN_SNOOZE_S)
    if times >= MOST_MET_ALONE:
        words = (
            f"answered {code} {times} times ({message}), not by the endpoint itself, and no other job met it:"
            " a firewall before the endpoint seems to refuse this picture"
        )
        return Hold("REFUSED_BEFORE_ENDPOINT", words)
    return Snooze(code, message, NOT_BEGUN_SNOOZE_S * LONGER_EACH_TIME ** (times - 1))


def _rest(refusal: Refusal, tries_used: int) -> float:
    asked = refusal.answer.retry_after_s
    return refusal.policy.delay(tries_used) if asked is None else asked
