"""The limit on downloads: jobs with pictures on the web that each producer may have at the same time."""

import time
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import Priority
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue import workers
from cutout.queue.blocks import download_limit
from cutout.queue.blocks.download_limit import Downloads, SourceLimitPromoter, download_slots
from cutout.queue.dispatch import dispatch
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.queue.leader import LEADER_LOCK
from cutout.queue.snapshot import read_snapshot
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.support.machine import scaled
from tests.support.steps import ACCOUNT, LEASE, begin, claim_new, claim_one, new_worker, record

THREADS = 32
WEB = "https://shop.example/p/{}.jpg"
UPLOADED = "s3://bucket/sources/{}"


def producer(session: Session, name: str) -> uuid.UUID:
    return create_producer(session, name)[0].id


def add_jobs(
    session: Session,
    owner: uuid.UUID | None,
    count: int,
    *,
    source: str = WEB,
    priority: Priority = Priority.NORMAL,
) -> list[uuid.UUID]:
    jobs = [NewJob(source.format(n), priority=priority) for n in range(count)]
    return enqueue_all(session, jobs, producer_id=owner)


def tick(session: Session, room: int = 100, *, threads: int = THREADS) -> Counter[uuid.UUID | None]:
    """Dispatch calls as the dispatcher does; returns how many of each producer went out."""

    def look() -> Downloads:
        return download_limit.count_downloads(session, threads, lease=LEASE)

    if read_snapshot(session, [ACCOUNT]).limited:
        SourceLimitPromoter().promote(session, look())
    turns = dispatch(session, room, lease=LEASE, downloads=look)
    return Counter(session.get_one(Job, job_id).producer_id for job_id, _ in turns.calls)


def settle_all(session: Session, owner: uuid.UUID | None) -> None:
    """End all outstanding jobs of a producer."""
    session.execute(
        text(
            "UPDATE jobs SET state = 'failed', queue_state = NULL, code = 'X', finished_at = now()"
            " WHERE queue_state = 'dispatched' AND producer_id IS NOT DISTINCT FROM :owner"
        ),
        {"owner": owner},
    )


def queue_states(session: Session) -> Counter[str | None]:
    return Counter(session.scalars(text("SELECT queue_state FROM jobs")))


class TestAProducersDownloads:
    def test_hold_half_of_the_slots_at_most(self, session: Session) -> None:
        """However many of them are first in the queue, and however large the target is."""
        a = producer(session, "a")
        add_jobs(session, a, 200, priority=Priority.INTERACTIVE)
        out = sum((tick(session) for _ in range(10)), Counter())
        assert out == {a: download_slots(THREADS) // 2}

    @pytest.mark.parametrize("scheme", ["http", "HTTPS", "Http"])
    def test_are_recognised_with_any_spelling_of_the_scheme(self, session: Session, scheme: str) -> None:
        """Capitals count as small letters."""
        a = producer(session, "a")
        add_jobs(session, a, 100, source=scheme + "://shop.example/{}.jpg")
        out = sum((tick(session) for _ in range(10)), Counter())
        assert out == {a: download_slots(THREADS) // 2}

    def test_that_are_promoted_have_waited_before(self, session: Session) -> None:
        """The lease of a dispatch that did not happen says nothing about them."""
        add_jobs(session, producer(session, "a"), 40)
        tick(session)
        settle_all(session, session.scalars(text("SELECT id FROM producers")).one())
        SourceLimitPromoter().promote(session, download_limit.count_downloads(session, THREADS, lease=LEASE))
        ahead = "SELECT count(*) FROM jobs WHERE queue_state = 'ready' AND scheduled_at > now()"
        assert queue_states(session)["ready"]
        assert session.scalars(text(ahead)).one() == 0

    def test_leave_slots_for_other_producers(self, session: Session) -> None:
        """Each further producer finds some free, and gets them at the next tick."""
        for number in range(8):
            owner = producer(session, str(number))
            add_jobs(session, owner, 100)
            assert tick(session, room=20)[owner] > 0
            for _ in range(5):
                tick(session, room=20)
        held = download_limit.count_downloads(session, THREADS, lease=LEASE).held
        assert len(held) == 8
        assert max(held.values()) == download_slots(THREADS) // 2
        assert sum(held.values()) < THREADS

    @pytest.mark.parametrize("many", [10, 700])
    def test_do_not_delay_jobs_behind_them(self, session: Session, many: int) -> None:
        """Jobs of another producer are behind all of them, and still go out within a few ticks."""
        a, b = producer(session, "a"), producer(session, "b")
        add_jobs(session, a, 12 + many, priority=Priority.INTERACTIVE)
        while tick(session):
            pass
        add_jobs(session, b, 3, priority=Priority.BULK)
        out = sum((tick(session, room=4) for _ in range(10)), Counter())
        assert out == {b: 3}

    def test_leave_others_their_share_of_a_small_target(self, session: Session) -> None:
        """Far more jobs of one producer are over its limit than a few ticks move; others go on time."""
        a, b = producer(session, "a"), producer(session, "b")
        add_jobs(session, a, 2000)
        for _ in range(5):
            tick(session, room=4)
        add_jobs(session, b, 10, source=UPLOADED)
        out = sum((tick(session, room=4) for _ in range(4)), Counter())
        assert out[b] == 10

    def test_take_free_slots_in_random_order(self, session: Session) -> None:
        """With one slot for all producers, the last one by its id gets it as well."""
        owners = sorted(producer(session, str(number)) for number in range(4))
        for owner in owners:
            add_jobs(session, owner, 40)
        went: Counter[uuid.UUID | None] = Counter()
        for _ in range(40):
            went += tick(session, threads=2)
            for owner in owners:
                settle_all(session, owner)
        assert all(went[owner] for owner in owners)

    def test_are_promoted_in_their_order(self, session: Session) -> None:
        """As slots become free, the first ones go first."""
        a, b = producer(session, "a"), producer(session, "b")
        ids = add_jobs(session, a, 40)
        went: list[uuid.UUID] = []
        for _ in range(12):
            add_jobs(session, b, 1, source=UPLOADED)
            tick(session)
            went += session.scalars(
                text(
                    "SELECT id FROM jobs WHERE queue_state = 'dispatched' AND producer_id = :a"
                    " ORDER BY virtual_start"
                ),
                {"a": a},
            )
            settle_all(session, a)
        assert went == ids
        assert queue_states(session)["source_limit"] == 0

    def test_of_uploaded_pictures_do_not_count(self, session: Session) -> None:
        """A picture in the bucket is not waited for."""
        a = producer(session, "a")
        add_jobs(session, a, 100, source=UPLOADED)
        assert tick(session) == {a: 100}

    def test_of_jobs_without_a_producer_are_limited_together(self, session: Session) -> None:
        """The operator's own sources may be slow as well."""
        add_jobs(session, None, 100)
        out = sum((tick(session) for _ in range(10)), Counter())
        assert out == {None: download_slots(THREADS) // 2}
        settle_all(session, None)
        assert tick(session)[None] > 0

    def test_end_with_the_call(self, session: Session) -> None:
        """A job whose call is open holds no slot: only the rate limit applies to calls."""
        a = producer(session, "a")
        add_jobs(session, a, 100)
        worker_id = new_worker(session)
        claims = [claim_one(session, worker_id) for _ in range(5)]
        assert download_limit.count_downloads(session, THREADS, lease=LEASE).held == {a: 5}
        for claim in claims:
            begin(session, claim)
        assert download_limit.count_downloads(session, THREADS, lease=LEASE).held == {}

    def test_that_last_are_counted_as_slow(self, session: Session) -> None:
        """So jobs that wait for a slow source do not use the target of calls."""
        add_jobs(session, producer(session, "a"), 4)
        tick(session)
        assert download_limit.count_downloads(session, THREADS, lease=LEASE).slow == 0
        session.execute(text("UPDATE jobs SET scheduled_at = scheduled_at - interval '3 s'"))
        assert download_limit.count_downloads(session, THREADS, lease=LEASE).slow == 4

    def test_are_explained(self, session: Session) -> None:
        """A job that waits for its producer's other downloads says so, ready or not."""
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
        workers.register(session, host="h", pid=1, call_threads=THREADS)
        a, b = producer(session, "a"), producer(session, "b")
        add_jobs(session, a, 60)
        for _ in range(10):
            tick(session, room=3)
        (waits,), (goes,) = add_jobs(session, a, 1), add_jobs(session, b, 1)
        explained = [explain(session, session.get_one(Job, each), CallSettings([])) for each in (waits, goes)]
        assert [each.why for each in explained] == ["source-limit", "ready"]
        session.execute(text("UPDATE jobs SET queue_state = 'source_limit' WHERE id = :id"), {"id": waits})
        session.expire_all()
        assert explain(session, session.get_one(Job, waits), CallSettings([])).why == "source-limit"

    def test_late_results_continue_at_once(self, session: Session) -> None:
        """A job over the limit whose call was paid after all is copied."""
        claim = claim_new(session, new_worker(session))
        attempt = begin(session, claim)
        session.execute(
            text(
                "UPDATE jobs SET state = 'queued', worker_id = NULL, fence = 9, queue_state = 'source_limit'"
            )
        )
        record(session, claim, attempt)
        row = session.execute(text("SELECT queue_state, step FROM jobs")).one()
        assert (row.queue_state, row.step) == ("ready", "copy")

    def test_are_limited_if_batches_are_blocked_among_them(self, session: Session) -> None:
        """Rounds that block jobs respect the limit."""
        a = producer(session, "a")
        blocked = create_batch(session, "blocked", producer_id=a)
        for n in range(60):
            add_jobs(session, a, 1)
            enqueue_all(session, [NewJob(WEB.format(n), str(n))], batch_id=blocked.id)
        session.execute(text("UPDATE batches SET paused_at = now()"))
        out = sum((tick(session, room=6) for _ in range(20)), Counter())
        assert out == {a: download_slots(THREADS) // 2}


@pytest.mark.parametrize(("threads", "places"), [(0, 1), (1, 1), (2, 1), (8, 6), (32, 24), (64, 48)])
def test_slots_leave_a_quarter_of_the_threads(threads: int, places: int) -> None:
    """They are for calls, copies and uploaded pictures."""
    assert download_slots(threads) == places


def test_threads_are_those_of_workers_that_may_call(session: Session) -> None:
    """A worker that has left, or that cannot reach the bucket, does not count."""
    assert workers.call_threads(session) is None
    for number, threads in enumerate((8, 0, None, 16, 32)):
        workers.register(session, host="h", pid=number, call_threads=threads)
    session.execute(text("UPDATE workers SET left_at = now() WHERE pid = 3"))
    session.execute(text("UPDATE workers SET cut_off_at = now(), cut_off_reason = 'x' WHERE pid = 4"))
    assert workers.call_threads(session) == 8 + workers.USUAL_THREADS
    assert workers.call_threads(session, within=timedelta(0)) is None


def test_a_tick_costs_the_same_for_any_number_of_waiting_jobs(engine: Engine) -> None:
    """30,000 jobs of a producer over the limit and 30,000 ready ones are not read to find the next."""
    with Session(engine) as session, session.begin():
        a, b = producer(session, "a"), producer(session, "b")
    with engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.execute(
            text(
                "INSERT INTO jobs (producer_id, source, queue_state, virtual_start)"
                " SELECT :a, 'https://shop.example/' || n, queue_state, n"
                " FROM generate_series(1, 30000) n, unnest(ARRAY['ready', 'source_limit']) AS queue_state"
            ),
            {"a": a},
        )
        autocommit.execute(text("VACUUM ANALYZE jobs"))
    with Session(engine) as session, session.begin():
        add_jobs(session, b, 10)
        while tick(session):
            pass
        began = time.perf_counter()
        for _ in range(10):
            tick(session, room=5)
        assert (time.perf_counter() - began) / 10 < scaled(0.05)
