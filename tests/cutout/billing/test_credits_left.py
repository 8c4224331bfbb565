"""An account's remaining credits, read as often as every second."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.billing import accounts
from cutout.billing.credits_left import CHARGED, CreditsLeft
from cutout.queue.enqueue import NewJob, enqueue
from tests.support.explained import plan_of, rows_looked_at
from tests.support.steps import ACCOUNT, SOURCE, claim_one, new_worker

OLD = 300


def call(session: Session, *, ago: str, outcome: str = "charged", times: int = 1) -> None:
    """Calls that began that long ago and took a second; open ones have an unknown outcome."""
    ended = "NULL" if outcome == "open" else "b.at + interval '1 second'"
    session.execute(
        text(
            "INSERT INTO attempts"  # noqa: S608
            " (job_id, number, fence, worker_id, account, image_sha256, outcome, begun_at, ended_at)"
            " SELECT job_id, (SELECT coalesce(max(number), 0) FROM attempts) + n, 1, worker_id, :account,"
            f" 'x', :outcome, b.at, {ended}"
            " FROM (SELECT id AS job_id, worker_id FROM jobs LIMIT 1) AS j, generate_series(1, :times) AS n,"
            " (SELECT now() - CAST(:ago AS interval) AS at) AS b"
        ),
        {
            "account": ACCOUNT,
            "outcome": "unknown" if outcome == "open" else outcome,
            "ago": ago,
            "times": times,
        },
    )


def read(session: Session, credits_then: float, *, ago: str) -> None:
    """A reading of the account's credits."""
    session.execute(
        text("UPDATE accounts SET credits = :credits, credits_at = now() - CAST(:ago AS interval)"),
        {"credits": credits_then, "ago": ago},
    )


@pytest.fixture
def left(session: Session) -> CreditsLeft:
    """The remaining credits of an account whose calls belong to one running job."""
    worker = new_worker(session)
    enqueue(session, NewJob(SOURCE, "a"))
    claim_one(session, worker)
    return CreditsLeft(ACCOUNT)


class TestTheCreditsLeft:
    def test_are_none_without_a_reading(self, session: Session, left: CreditsLeft) -> None:
        """Without a reading the credits are unknown."""
        call(session, ago="1 minute")
        assert left.look(session) is None

    def test_are_the_reading_less_what_may_have_been_charged_since(
        self, session: Session, left: CreditsLeft
    ) -> None:
        """The reading minus all calls since that are not surely free; also after many reads."""
        read(session, 1000, ago="20 hours")
        call(session, ago="21 hours", times=5)
        call(session, ago="10 hours", times=7)
        call(session, ago="9 hours", outcome="not_charged")
        call(session, ago="1 minute", outcome="unknown", times=3)
        call(session, ago="10 seconds", outcome="open")
        for _ in range(2):
            assert left.look(session) == accounts.credits_left(session, ACCOUNT) == 1000 - 11
        call(session, ago="5 seconds", times=2)
        assert left.look(session) == 1000 - 13

    def test_begin_again_with_a_new_reading(self, session: Session, left: CreditsLeft) -> None:
        """A new reading includes the calls counted before."""
        read(session, 1000, ago="20 hours")
        call(session, ago="10 hours", times=7)
        assert left.look(session) == 993
        read(session, 500, ago="1 hour")
        assert left.look(session) == 500

    def test_count_old_calls_once(self, session: Session, left: CreditsLeft) -> None:
        """The second and later reads count only calls of the last minutes."""
        read(session, 1000, ago="20 hours")
        call(session, ago="10 hours", times=OLD)
        call(session, ago="1 minute", times=2)
        assert left.look(session) == 1000 - OLD - 2
        asked = {"account": ACCOUNT, "begun_from": left._counted_to, "read_at": left._read_at}
        asked["begun_before"] = left._counted_to + timedelta(days=1)
        assert max(rows_looked_at(plan_of(session, CHARGED, asked))) <= 2
