from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing.recent_calls import calls_by_minute, slow_answers, slow_codes
from cutout.enums import AttemptOutcome
from cutout.models import Attempt
from cutout.queue.attempts.attempts import Answer
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings.fields import VerdictOverride
from tests.support.steps import ACCOUNT, SOURCE, begin, claim_one, new_worker

CODES = slow_codes({})


def call_at(session: Session, code: str, ago: timedelta) -> None:
    """A call that was refused with the code, begun so long ago."""
    worker_id = new_worker(session)
    enqueue(session, NewJob(SOURCE))
    attempt_id = begin(session, claim_one(session, worker_id))
    refused = Answer(AttemptOutcome.NOT_CHARGED, http_status=429, code=code, message="slow down")
    queue.end_attempt(session, attempt_id, refused)
    begun_at = now(session) - ago
    session.execute(update(Attempt).where(Attempt.id == attempt_id).values(begun_at=begun_at))


def now(session: Session) -> datetime:
    """The database's time."""
    return session.scalars(select(func.now())).one()


class TestRecentCalls:
    def test_are_counted_by_minute(self, session: Session) -> None:
        """Minutes without any are in it, older ones are not; the last minute is the present one."""
        call_at(session, "HTTP_429", timedelta())
        call_at(session, "SOMETHING_ELSE", timedelta())
        call_at(session, "HTTP_429", timedelta(minutes=2))
        call_at(session, "HTTP_429", timedelta(minutes=3))
        minutes = calls_by_minute(session, CODES, 3)
        assert [(each.begun, each.slow) for each in minutes] == [(1, 1), (0, 0), (2, 1)]
        assert minutes[-1].minute == now(session).replace(second=0, microsecond=0)

    def test_that_came_too_fast_are_named(self, session: Session) -> None:
        """The newest is first, and another code is no such answer."""
        call_at(session, "HTTP_429", timedelta(minutes=2))
        call_at(session, "HTTP_429", timedelta(minutes=1))
        call_at(session, "SOMETHING_ELSE", timedelta())
        found = slow_answers(session, ACCOUNT, CODES)
        assert [now(session) - each.at for each in found] == [timedelta(minutes=1), timedelta(minutes=2)]
        assert {(each.code, each.message) for each in found} == {("HTTP_429", "slow down")}

    def test_follow_the_setting_of_verdicts(self) -> None:
        """A code that a setting calls slow is one of them."""
        assert "MINE" not in CODES
        assert "MINE" in slow_codes({"MINE": VerdictOverride.model_validate({"verdict": "slow"})})
