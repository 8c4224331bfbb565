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
    """As if so many seconds had gone by since the breaker last changed."""
    session.execute(
        text("UPDATE breaker SET probe_at = probe_at - :gone, closed_at = closed_at - :gone"),
        {"gone": timedelta(seconds=seconds)},
    )


def probe_in_s(session: Session) -> float:
    seconds: float = session.scalars(
        text("SELECT extract(epoch FROM probe_at - now())::float8 FROM breaker")
    ).one()
    return seconds


def copy_in_line(session: Session, *, lifetime: timedelta) -> Claim:
    """A job at its copy that stands in line."""
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
    def test_is_done_once_and_the_first_reason_stands(self, session: Session) -> None:
        """Whoever opens it is told so; whoever comes later changes nothing."""
        assert storage_breaker.trip(session, "refused")
        assert not storage_breaker.trip(session, "another")
        assert row(session).reason == "refused"

    def test_is_seen_by_the_dispatcher(self, session: Session) -> None:
        """The snapshot says that the bucket is away, until the breaker is closed."""
        assert not read_snapshot(session, [ACCOUNT]).bucket_is_down
        storage_breaker.trip(session, "refused")
        assert read_snapshot(session, [ACCOUNT]).bucket_is_down
        storage_breaker.close(session)
        assert not read_snapshot(session, [ACCOUNT]).bucket_is_down

    def test_stops_calls_that_are_in_a_workers_hands(self, session: Session) -> None:
        """Open, no attempt is begun and nothing stands in the ledger; closed, it is."""
        claim = claim_new(session, new_worker(session))
        storage_breaker.trip(session, "refused")
        begun = ask_to_begin(session, claim)
        assert begun is NotBegun.BUCKET
        assert session.scalars(select(Attempt)).all() == []
        storage_breaker.close(session)
        assert begin(session, claim)

    def test_lets_only_unsaved_results_go_that_die_soon(self, session: Session) -> None:
        """They must be saved elsewhere; every other copy waits for the bucket."""
        dying = copy_in_line(session, lifetime=timedelta(hours=1))
        copy_in_line(session, lifetime=timedelta(hours=3))
        saved = copy_in_line(session, lifetime=timedelta(hours=1))
        session.execute(text("UPDATE jobs SET lifeboat_key = id::text WHERE id = :id"), {"id": saved.job_id})
        dispatched = dispatch_copies(session, 10, lease=LEASE, expiring_within=TWO_HOURS)
        assert [job_id for job_id, _ in dispatched] == [dying.job_id]
        assert len(dispatch_copies(session, 10, lease=LEASE)) == 2


class TestTheProbe:
    def test_is_due_after_two_seconds_and_put_off_by_asking(self, session: Session) -> None:
        """Whoever finds it due has it alone."""
        storage_breaker.trip(session, "refused")
        assert not storage_breaker.due_for_probe(session)
        pass_time(session, 2)
        assert storage_breaker.due_for_probe(session)
        assert not storage_breaker.due_for_probe(session)
        assert probe_in_s(session) == 2

    def test_is_not_due_while_closed(self, session: Session) -> None:
        """A bucket that works is left alone."""
        assert not storage_breaker.due_for_probe(session)
        storage_breaker.trip(session, "refused")
        storage_breaker.close(session)
        pass_time(session, 1000)
        assert not storage_breaker.due_for_probe(session)

    def test_comes_half_as_often_each_time_that_it_was_closed_too_early(self, session: Session) -> None:
        """2, 4, 8 … and at most 60 seconds."""
        waits = []
        for _ in range(8):
            storage_breaker.trip(session, "refused")
            waits.append(probe_in_s(session))
            storage_breaker.close(session)
            pass_time(session, 59)
        assert waits == [2, 4, 8, 16, 32, 60, 60, 60]

    def test_begins_anew_after_a_calm(self, session: Session) -> None:
        """A limit that held for a minute is trusted again."""
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

    def test_what_is_closed_changes_nothing(self, session: Session) -> None:
        """When it was closed is remembered from the first time."""
        before = row(session).closed_at
        storage_breaker.close(session)
        assert row(session).closed_at == before


def test_a_very_long_reason_is_cut(session: Session) -> None:
    """Messages of others are cut to a bounded length."""
    storage_breaker.trip(session, "x" * 10_000)
    assert len(row(session).reason or "") == 500
