"""A wrong clock of this machine does not matter to what people see: Postgres' clock is used."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.billing import accounts, learned_limits
from cutout.models import Job
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.queue.leader import LEADER_LOCK
from cutout.queue.settle import settle
from cutout.status.batch_status import batch_status
from cutout.status.call_rate import CallSettings
from cutout.status.eta import read_queue_rate
from cutout.status.explain import explain
from cutout.status.job_view import SNAPSHOT, job_snapshot
from tests.support.clock import off_by
from tests.support.steps import ACCOUNT, SOURCE, claim_new, new_worker

OFF_S = (-90.0, 0.0, 90.0)
KNOWN = CallSettings([ACCOUNT])
# Nearer than the clock is wrong.
SOON = "now() + interval '30 s'"
JUST_NOW = "now() - interval '30 s'"
OF_A_LIMIT = f"""
    SELECT slow_at <= now(), rests_until > now(), rests_until < {SOON}, circuit_until > now() FROM limits
"""  # noqa: S608


@pytest.fixture(autouse=True, params=OFF_S, ids=lambda seconds: f"{seconds:+.0f}s")
def wrong(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let this process read another time."""
    with off_by(request.param):
        yield


@pytest.fixture
def running(session: Session) -> Session:
    """An installation with a leading dispatcher and a living worker."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
    new_worker(session)
    return session


def why(session: Session, job_id: object) -> str:
    session.expire_all()
    return explain(session, session.get_one(Job, job_id), KNOWN).why


@pytest.mark.parametrize(
    ("opens", "closes", "expected"),
    [(SOON, "NULL", "window"), ("NULL", JUST_NOW, "window"), (JUST_NOW, SOON, "ready")],
    ids=["before", "after", "within"],
)
def test_a_window_opens_and_closes(running: Session, opens: str, closes: str, expected: str) -> None:
    """The explanation of a job and the state of its batch use Postgres' clock."""
    batch = create_batch(running, "b")
    job_id = enqueue(running, NewJob(SOURCE), batch_id=batch.id)
    running.execute(text(f"UPDATE batches SET opens_at = {opens}, closes_at = {closes}"))  # noqa: S608
    assert why(running, job_id) == expected
    status = batch_status(running, batch.id)
    assert status is not None
    assert status.rests == (expected == "window")


def test_a_job_is_delayed(running: Session) -> None:
    """It waits until its time, and the next poll is suggested for then."""
    claim = claim_new(running, new_worker(running))
    settle(running, claim, Snooze("LIMIT_REACHED", "later", 30.0))
    assert why(running, claim.job_id) == "delayed"
    (row,) = running.execute(SNAPSHOT, {"ids": [claim.job_id]}).all()
    assert read_queue_rate(running, [], None).seconds_for(job_snapshot(row), uuid.uuid4()) == 30


def test_a_learned_limit(session: Session) -> None:
    """The leader saves it, and any process reads it."""
    accounts.ensure(session, ACCOUNT)
    spans = [timedelta(seconds=seconds) for seconds in (1, 20, 20)]
    learned_limits.save(session, ACCOUNT, learned_limits.LimitState(4.0, None, 0, 0, 1.0, 1.0, *spans))
    assert all(session.execute(text(OF_A_LIMIT)).one())
