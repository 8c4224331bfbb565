"""Texts for a person about paid results that did not become a cutout as ordered."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome
from cutout.models import Job
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Hold, Lost, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.leader import LEADER_LOCK
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from cutout.status.explanation import Explanation
from cutout.storage.unexpected_bytes import CODE, Unexpected
from tests.support.steps import ACCOUNT, begin, claim_new, new_worker

URL = "https://results.example/secret.png"
FOUND = Unexpected("unexpected/x/1.png", "it has no alpha", "ab", "image/png", "png", 7, 60, 40)
PAGE = Unexpected("unexpected/x/1.bin", "a text came", "ab", "application/octet-stream", "bin", 7)


@pytest.fixture
def running(session: Session) -> Session:
    """An installation with a leading dispatcher and a live worker."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
    return session


def paid(session: Session, lifetime: timedelta = timedelta(hours=1)) -> Claim:
    """A job with a paid result."""
    claim = claim_new(session, new_worker(session))
    charged = Answer(AttemptOutcome.CHARGED)
    return claim.with_result(
        queue.record_result(
            session, claim, begin(session, claim), charged, url=URL, lifetime=lifetime, sent=(60, 40)
        )
    )


def why(session: Session, claim: Claim) -> Explanation:
    session.expire_all()
    return explain(session, session.get_one(Job, claim.job_id), CallSettings([ACCOUNT]))


def remedy(session: Session, claim: Claim) -> str:
    explained = why(session, claim)
    assert URL not in explained.text
    return explained.remedy or ""


class TestAnUnexpectedResult:
    def test_can_be_accepted_or_fetched_again_without_a_call(self, running: Session) -> None:
        """Until its URL expires, a retry costs nothing."""
        claim = queue.save_unexpected(running, paid(running), FOUND)
        queue.settle(running, claim, Hold(CODE, "it has no alpha; it is kept as unexpected/x/1.png"))
        assert "unexpected/x/1.png" in why(running, claim).text
        said = remedy(running, claim)
        assert said.startswith(f"`cutout accept {claim.job_id}` takes the received picture as its cutout")
        assert "fetches its result again (until " in said
        assert "without a call" in said

    def test_that_expired_costs_another_credit_to_retry(self, running: Session) -> None:
        """The remedy names the cost in advance; accepting still costs nothing."""
        claim = queue.save_unexpected(running, paid(running, timedelta(0)), FOUND)
        queue.settle(running, claim, Hold(CODE, "y"))
        said = remedy(running, claim)
        assert "cutout accept" in said
        assert "calls again, for another credit: the paid result has expired" in said

    def test_that_is_no_picture_cannot_be_accepted(self, running: Session) -> None:
        """The remedy does not name a command that would be refused."""
        claim = queue.save_unexpected(running, paid(running), PAGE)
        queue.settle(running, claim, Hold(CODE, "y"))
        assert "accept" not in remedy(running, claim)

    def test_that_was_accepted_waits_for_its_copy(self, running: Session) -> None:
        """An accepted result needs no call."""
        claim = queue.save_unexpected(running, paid(running), FOUND)
        queue.settle(running, claim, Hold(CODE, "y"))
        assert queue.accept(running, claim.job_id, FOUND)
        assert "unexpected/x/1.png was accepted; its copy is next" in why(running, claim).text


class TestALoss:
    def test_before_its_expiry_is_requested_once_more(self, running: Session) -> None:
        """A retry requests the URL first, and only then buys."""
        claim = paid(running)
        queue.settle(running, claim, Lost("RESULT_EXPIRED", "gone", gone=True))
        assert "requests its URL once more (until " in remedy(running, claim)

    def test_that_expired_is_bought_again(self, running: Session) -> None:
        """An expired result can only be bought again."""
        claim = paid(running, timedelta(0))
        queue.settle(running, claim, Lost("RESULT_EXPIRED", "its time is over"))
        assert "calls again, for another credit" in remedy(running, claim)


def test_an_answer_that_was_not_understood_can_be_read(running: Session) -> None:
    """The remedy names the command, not the answer."""
    claim = claim_new(running, new_worker(running))
    raw = Answer(AttemptOutcome.UNKNOWN, code="ANSWER_NOT_UNDERSTOOD", raw_answer=URL)
    queue.end_attempt(running, begin(running, claim), raw)
    queue.settle(running, claim, Hold("ANSWER_NOT_UNDERSTOOD", "y"))
    said = remedy(running, claim)
    assert f"`cutout explain {claim.job_id} --answer`" in said
    assert URL not in said


def test_a_cutout_with_a_warning_says_so(running: Session) -> None:
    """The job is done, and the text has the warning."""
    claim = claim_new(running, new_worker(running))
    stored = StoredObject("a.png", b"x" * 32, "image/png", 7, 30, 20, "30x20 pixels for the 60x40 sent")
    queue.settle(running, claim, Succeeded(stored))
    assert why(running, claim).text.endswith("with a warning: 30x20 pixels for the 60x40 sent")
