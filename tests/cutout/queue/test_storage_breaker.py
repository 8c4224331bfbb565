from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome
from cutout.models import Attempt, Breaker
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.blocks import storage_breaker
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch_copies
from cutout.queue.snapshot import read_snapshot
from tests.support.steps import ACCOUNT, LEASE, ask_to_begin, begin, claim_new, new_worker

CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
TWO_HOURS = timedelta(hours=2)


def row(session: Session) -> Breaker:
    session.expire_all()
    return session.scalars(select(Breaker)).one()


def pass_time(session: Session, seconds: float) -> None:
    """Let so many seconds pass for the breaker."""
    session.execute(
        text("UPDATE breaker SET probe_at = probe_at - :gone, closed_at = closed_at - :gone"),
        {"gone": timedelta(seconds=seconds)},
    )


def probe_in_s(session: Session) -> float:
    seconds: float = session.scalars(
        text("SELECT extract(epoch FROM probe_at - now())::float8 FROM breaker")
    ).one()
    return seconds


def ready_copy(session: Session, *, lifetime: timedelta) -> Claim:
    """A ready job at its copy."""
    claim = claim_new(session, new_worker(session))
    attempt_id = begin(session, claim)
    claim = claim.with_result(
        queue.record_result(
            session, claim, attempt_id, CHARGED, url="https://r/1", lifetime=lifetime, sent=(10, 20)
        )
    )
    session.execute(
        text("UPDATE jobs SET state = 'queued', queue_state = 'ready', worker_id = NULL WHERE id = :id"),
        {"id": claim.job_id},
    )
    return claim


class TestOpening:
    def test_happens_once_and_keeps_the_first_reason(self, session: Session) -> None:
        """The first opening returns true, later ones change nothing."""
        assert storage_breaker.trip(session, "refused")
        assert not storage_breaker.trip(session, "another")
        assert row(session).reason == "refused"

    def test_is_seen_by_the_dispatcher(self, session: Session) -> None:
        """The snapshot says that the bucket is down, until the breaker is closed."""
        assert not read_snapshot(session, [ACCOUNT]).bucket_is_down
        storage_breaker.trip(session, "refused")
        assert read_snapshot(session, [ACCOUNT]).bucket_is_down
        storage_breaker.close(session)
        assert not read_snapshot(session, [ACCOUNT]).bucket_is_down

    def test_stops_calls_of_running_jobs(self, session: Session) -> None:
        """While it is open no attempt begins and the ledger has no row."""
        claim = claim_new(session, new_worker(session))
        storage_breaker.trip(session, "refused")
        begun = ask_to_begin(session, claim)
        assert begun is NotBegun.BUCKET
        assert session.scalars(select(Attempt)).all() == []
        storage_breaker.close(session)
        assert begin(session, claim)

    def test_allows_only_copies_of_unsaved_results_that_expire_soon(self, session: Session) -> None:
        """They must be saved elsewhere; every other copy waits for the bucket."""
        dying = ready_copy(session, lifetime=timedelta(hours=1))
        ready_copy(session, lifetime=timedelta(hours=3))
        saved = ready_copy(session, lifetime=timedelta(hours=1))
        session.execute(text("UPDATE jobs SET lifeboat_key = id::text WHERE id = :id"), {"id": saved.job_id})
        dispatched = dispatch_copies(session, 10, lease=LEASE, expiring_within=TWO_HOURS)
        assert [job_id for job_id, _ in dispatched] == [dying.job_id]
        assert len(dispatch_copies(session, 10, lease=LEASE)) == 2


class TestTheProbe:
    def test_is_due_after_two_seconds_and_postponed_by_the_check(self, session: Session) -> None:
        """Only one process finds it due."""
        storage_breaker.trip(session, "refused")
        assert not storage_breaker.due_for_probe(session)
        pass_time(session, 2)
        assert storage_breaker.due_for_probe(session)
        assert not storage_breaker.due_for_probe(session)
        assert probe_in_s(session) == 2

    def test_is_not_due_while_closed(self, session: Session) -> None:
        """A working bucket is not probed."""
        assert not storage_breaker.due_for_probe(session)
        storage_breaker.trip(session, "refused")
        storage_breaker.close(session)
        pass_time(session, 1000)
        assert not storage_breaker.due_for_probe(session)

    def test_comes_half_as_often_after_each_early_close(self, session: Session) -> None:
        """After 2, 4, 8 and at most 60 seconds."""
        waits = []
        for _ in range(8):
            storage_breaker.trip(session, "refused")
            waits.append(probe_in_s(session))
            storage_breaker.close(session)
            pass_time(session, 59)
        assert waits == [2, 4, 8, 16, 32, 60, 60, 60]

    def test_starts_again_after_a_calm_minute(self, session: Session) -> None:
        """A bucket that worked for a minute is trusted again."""
        for _ in range(3):
            storage_breaker.trip(session, "refused")
            storage_breaker.close(session)
        pass_time(session, 61)
        storage_breaker.trip(session, "refused")
        assert probe_in_s(session) == 2


class TestClosing:
    def test_forgets_the_reason(self, session: Session) -> None:
        """A closed breaker has none, and can be opened again."""
        storage_breaker.trip(session, "refused")
        storage_breaker.close(session)
        assert (row(session).opened_at, row(session).reason, row(session).probe_at) == (None, None, None)
        assert storage_breaker.trip(session, "again")

    def test_of_a_closed_breaker_changes_nothing(self, session: Session) -> None:
        """The time of the first close stays."""
        before = row(session).closed_at
        storage_breaker.close(session)
        assert row(session).closed_at == before


def test_a_very_long_reason_is_cut(session: Session) -> None:
    """Texts of other servers are stored with a limited length."""
    storage_breaker.trip(session, "x" * 10_000)
    assert len(row(session).reason or "") == 500
