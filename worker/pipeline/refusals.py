"""Refused calls, by the endpoint or by our own limits: the job's outcome, and the limiter's feedback."""

from dataclasses import dataclass

from cutout.endpoint.answer import Refused
from cutout.endpoint.verdicts import Policy, Verdict
from cutout.enums import Step
from cutout.queue.attempts.attempts import NotBegun
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Retry, Snooze, Unknown
from cutout.queue.claims import Claim
from worker.limiter.limiter import LimiterFeedback

NOT_BEGUN_SNOOZE_S = 5.0
PAUSED_SNOOZE_S = 2.0
# A firewall seems to refuse one picture: 5 s and 30 s between the tries, then a person decides.
MOST_MET_ALONE = 3
LONGER_EACH_TIME = 6
# Its quota is shared with the endpoint's other customers.
SHARED_QUOTA = "AI_SERVICE_FLOW_RESTRICTION"

NOT_BEGUN: dict[NotBegun, Outcome] = {
    NotBegun.LOST: Snooze("NOT_BEGUN", "the claim was lost", 0.0),
    NotBegun.AGAIN: Snooze("NOT_BEGUN", "the conditions for a call changed meanwhile", 0.0),
    NotBegun.ACCOUNT: Snooze("NOT_BEGUN", "the account is paused", NOT_BEGUN_SNOOZE_S),
    NotBegun.BUCKET: Snooze("NOT_BEGUN", "the bucket cannot be reached", NOT_BEGUN_SNOOZE_S),
    # Settling ends such a job.
    NotBegun.CANCELLED: Snooze("NOT_BEGUN", "it was cancelled", 0.0),
    NotBegun.APPROVAL: Snooze("NOT_BEGUN", "its batch waits for approval", PAUSED_SNOOZE_S),
    NotBegun.RESULTS: Snooze("NOT_BEGUN", "paid results cannot be fetched or stored", NOT_BEGUN_SNOOZE_S),
    NotBegun.SUSPENDED: Snooze("PRODUCER_SUSPENDED", "its producer is suspended", PAUSED_SNOOZE_S),
    NotBegun.PAUSED: Snooze("PAUSED_BY_HAND", "it was paused by hand", PAUSED_SNOOZE_S),
    NotBegun.WINDOW: Snooze("WINDOW_CLOSED", "its batch's window is not open", PAUSED_SNOOZE_S),
    NotBegun.DAY: Snooze("DAY_BUDGET_SPENT", "the day's budget of credits is spent", NOT_BEGUN_SNOOZE_S),
    # Used only if it is not held any more: otherwise the message names the held job.
    NotBegun.HELD: Snooze("NOT_BEGUN", "the same picture was held a moment ago", 0.0),
    NotBegun.BUDGET: Hold(
        "OVER_BUDGET", "its batch has spent its budget; raise it with `cutout budget`", blocked=True
    ),
}


@dataclass(frozen=True, slots=True)
class ClassifiedRefusal:
    """A call that the endpoint refused, with the policy for its code.

    `circuit_is_open` says that calls of all jobs fail. `met_alone` counts how often this job met a refusal
    that would pause the account, while no other job met it; None for any other refusal.
    """

    answer: Refused
    policy: Policy
    circuit_is_open: bool = False
    met_alone: int | None = None

    @property
    def feedback(self) -> LimiterFeedback:
        """The limiter's feedback of the call."""
        if self.answer.may_be_charged:
            return LimiterFeedback.FAILED
        match self.policy.verdict:
            case Verdict.SLOW:
                return LimiterFeedback.FLOW if self.answer.code == SHARED_QUOTA else LimiterFeedback.SLOW
            case Verdict.RETRY:
                return LimiterFeedback.FAILED
            case Verdict.PAUSE:
                return LimiterFeedback.UNUSED
            case Verdict.REFIT | Verdict.FAIL | Verdict.UNKNOWN:
                return LimiterFeedback.OK

    def outcome(self, claim: Claim) -> Outcome:
        """The job's outcome, by the policy."""
        code, message = self.answer.code, self.answer.message
        if self.answer.may_be_charged:
            doubt = f"{message}; the endpoint may have charged a credit"
            return Unknown(code, doubt, in_outage=self.circuit_is_open)
        match self.policy.verdict:
            case Verdict.RETRY | Verdict.UNKNOWN:
                delay_s = self._delay_s(claim.tries + 1)
                if self.circuit_is_open:
                    # Calls of all jobs fail: no fault of this job.
                    return Snooze(code, f"{message}; calls of all jobs fail", delay_s)
                return Retry(Step.CALL, code, message, after_seconds=delay_s, most_tries=self.policy.tries)
            case Verdict.SLOW:
                calls = claim.calls + 1
                if self.policy.tries is not None and calls >= self.policy.tries:
                    return Hold("TOO_MANY_CALLS", f"refused {calls} times, last by {code}: {message}")
                return Snooze(code, message, self._delay_s(calls))
            case Verdict.PAUSE:
                return self._outcome_of_a_pause()
            case Verdict.REFIT | Verdict.FAIL:
                return Fail(code, message)

    def _outcome_of_a_pause(self) -> Outcome:
        code, message, times = self.answer.code, self.answer.message, self.met_alone
        if times is None:
            return Snooze(code, message, NOT_BEGUN_SNOOZE_S)
        if times >= MOST_MET_ALONE:
            reason = (
                f"answered {code} {times} times ({message}), not by the endpoint itself, and no other job met"
                " it: a firewall before the endpoint seems to refuse this picture"
            )
            return Hold("REFUSED_BEFORE_ENDPOINT", reason)
        return Snooze(code, message, NOT_BEGUN_SNOOZE_S * LONGER_EACH_TIME ** (times - 1))

    def _delay_s(self, tries_used: int) -> float:
        asked_s = self.answer.retry_after_s
        return self.policy.delay(tries_used) if asked_s is None else asked_s
