"""Shares across producers: the next producer is chosen by the calls that each has had."""

import uuid
from collections import Counter

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import PRIORITIES, Priority
from cutout.models import Job
from cutout.producers.ceilings import set_ceilings
from cutout.producers.producers import create_producer
from cutout.queue.blocks import block
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.blocks.pauses import pause, resume
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.producer_shares import LEAD, MOST_LAG
from tests.support.steps import LEASE, SOURCE


def add(
    session: Session,
    name: str,
    count: int,
    *,
    priority: Priority = Priority.NORMAL,
    batches: int = 1,
    share: float = 1,
) -> uuid.UUID:
    """Create a producer with so many jobs in each of so many batches."""
    producer, _ = create_producer(session, name)
    set_ceilings(session, producer.id, share=share)
    for _ in range(batches):
        add_batch(session, producer.id, count, priority=priority)
    return producer.id


def add_batch(
    session: Session,
    producer_id: uuid.UUID | None,
    count: int,
    *,
    priority: Priority = Priority.NORMAL,
    weight: float = 1,
) -> uuid.UUID:
    batch = create_batch(session, "b", producer_id=producer_id, weight=weight)
    enqueue_all(session, [NewJob(SOURCE, str(n), priority=priority) for n in range(count)], batch_id=batch.id)
    return batch.id


def next_ones(session: Session, count: int, at_once: int = 1) -> list[uuid.UUID | None]:
    """Dispatch so many jobs; returns their producers."""
    owners: list[uuid.UUID | None] = []
    while len(owners) < count:
        dispatched = dispatch_calls(session, min(at_once, count - len(owners)), lease=LEASE)
        assert dispatched
        owners += [session.get_one(Job, job_id).producer_id for job_id, _ in dispatched]
    return owners


class TestProducers:
    @pytest.mark.parametrize("at_once", [1, 3, 20])
    @pytest.mark.parametrize("batches", [1, 50])
    def test_share_evenly_however_many_batches_one_has(
        self, session: Session, at_once: int, batches: int
    ) -> None:
        """Fifty batches of one producer are one share, as is one batch of another."""
        many = add(session, "many", 4, batches=batches) if batches > 1 else add(session, "many", 200)
        one = add(session, "one", 30)
        assert Counter(next_ones(session, 20, at_once)) == {many: 10, one: 10}

    def test_share_with_jobs_that_have_no_producer(self, session: Session) -> None:
        """The operator's jobs are one share as well."""
        add_batch(session, None, 20)
        add_batch(session, None, 20)
        shop = add(session, "shop", 20)
        assert Counter(next_ones(session, 20, 4)) == {None: 10, shop: 10}

    def test_get_as_much_as_their_share_says(self, session: Session) -> None:
        """A share of 3 gets three times the calls of a share of 1."""
        large, small = add(session, "large", 40, share=3), add(session, "small", 40)
        assert Counter(next_ones(session, 20, 5)) == {large: 15, small: 5}

    @pytest.mark.parametrize("at_once", [1, 7])
    def test_save_nothing_up_while_they_have_no_jobs(self, session: Session, at_once: int) -> None:
        """A producer that was idle while another had all calls shares evenly from then on."""
        away, busy = add(session, "away", 1), add(session, "busy", 300)
        next_ones(session, 150, at_once)
        add_batch(session, away, 40)
        assert Counter(next_ones(session, 30, at_once))[away] == pytest.approx(15, abs=1)
        assert busy

    def test_owe_nothing_for_calls_that_nobody_else_wanted(self, session: Session) -> None:
        """A producer that had all calls does not wait when another one comes."""
        alone = add(session, "alone", 300)
        next_ones(session, 200, 20)
        add(session, "new", 40)
        assert Counter(next_ones(session, 20))[alone] == pytest.approx(10, abs=1)

    def test_are_served_in_turn_when_there_are_more_of_them_than_calls(self, session: Session) -> None:
        """Each gets one call before any gets a second."""
        owners = {add(session, f"p{n}", 5) for n in range(12)}
        assert {*next_ones(session, 12, 4)} == owners
        assert {*next_ones(session, 12, 5)} == owners

    def test_take_what_others_leave(self, session: Session) -> None:
        """A dispatch is filled although most producers have one job each."""
        large = add(session, "large", 50)
        for n in range(5):
            add(session, f"small{n}", 1)
        assert Counter(next_ones(session, 25, 25))[large] == 20

    def test_skip_jobs_that_another_transaction_locks(self, engine: Engine) -> None:
        """A locked row delays neither its producer nor another one."""
        with Session(engine) as session, session.begin():
            held, free = add(session, "held", 3), add(session, "free", 3)
        with Session(engine) as other, Session(engine) as session, session.begin():
            first = "SELECT FROM jobs WHERE producer_id = :id AND external_id = '0' FOR UPDATE"
            other.execute(text(first), {"id": held})
            assert Counter(next_ones(session, 4, 4)) == {held: 2, free: 2}

    def test_are_charged_little_for_blocked_jobs(self, session: Session) -> None:
        """Jobs of a paused batch cost their producer a call or two, not one each."""
        shop = add(session, "shop", 0)
        add(session, "other", 40)
        paused = add_batch(session, shop, 30)
        add_batch(session, shop, 30)
        pause(session, paused)
        taken = Counter(next_ones(session, 20, 10))
        assert taken[shop] >= 8
        resume(session, paused)
        assert unblock(session) == 30
        taken = Counter(next_ones(session, 20, 10))
        assert taken[shop] >= 8

    def test_get_their_calls_beside_a_paused_batch_of_any_size(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long it takes to block another producer's jobs."""
        monkeypatch.setattr(block, "MOST_BLOCKED", 1)
        shop, other = add(session, "shop", 0), add(session, "other", 20)
        pause(session, add_batch(session, shop, 300))
        dispatched = [each for _ in range(4) for each in dispatch_calls(session, 4, lease=LEASE)]
        assert [session.get_one(Job, job_id).producer_id for job_id, _ in dispatched][:10] == [other] * 10


class TestBatchesOfAProducer:
    def test_share_what_their_producer_gets(self, session: Session) -> None:
        """A small batch behind a large one alternates with it, beside another producer's jobs."""
        shop, other = add(session, "shop", 200), add(session, "other", 200)
        next_ones(session, 50, 10)
        small = add_batch(session, shop, 10)
        dispatched = dispatch_calls(session, 20, lease=LEASE)
        taken = Counter(session.get_one(Job, job_id).batch_id == small for job_id, _ in dispatched)
        assert taken[True] == pytest.approx(5, abs=1)
        assert other

    def test_weigh_against_one_another_only(self, session: Session) -> None:
        """A weight of 1000 takes calls from the producer's other batches only."""
        shop, other = add(session, "shop", 40), add(session, "other", 40)
        add_batch(session, shop, 40, weight=1000)
        assert Counter(next_ones(session, 20, 5)) == {shop: 10, other: 10}

    def test_start_at_the_virtual_time_of_their_producer(self, session: Session) -> None:
        """Calls of other producers do not move it."""
        shop, other = add(session, "shop", 40), add(session, "other", 1000)
        next_ones(session, 20, 10)
        session.execute(text("UPDATE producers SET suspended_at = now() WHERE id = :id"), {"id": shop})
        next_ones(session, 600, 300)
        session.execute(text("UPDATE producers SET suspended_at = NULL"))
        small = add_batch(session, shop, 10)
        dispatched = dispatch_calls(session, 40, lease=LEASE)
        batches = Counter(session.get_one(Job, job_id).batch_id for job_id, _ in dispatched)
        assert batches[small] == pytest.approx(10, abs=1)
        assert other


class TestAPriority:
    def test_is_worth_a_few_calls_of_others(self, session: Session) -> None:
        """Interactive jobs go before another's normal ones, and share evenly afterwards."""
        eager, usual = add(session, "eager", 60, priority=Priority.INTERACTIVE), add(session, "usual", 60)
        taken = next_ones(session, LEAD + 20)
        assert set(taken[:LEAD]) == {eager}
        assert Counter(taken[LEAD:]) == {eager: 10, usual: 10}

    @pytest.mark.parametrize("at_once", [1, 8])
    @pytest.mark.parametrize("priority", PRIORITIES.values())
    def test_starves_nobody(self, session: Session, priority: Priority, at_once: int) -> None:
        """Beside any number of urgent jobs, five of another go within the lead and their own share."""
        add(session, "flood", 200, priority=Priority.INTERACTIVE)
        small = add(session, "small", 5, priority=priority)
        assert next_ones(session, LEAD * priority + 10 + at_once, at_once).count(small) == 5

    def test_leads_again_once_it_was_made_up_for(self, session: Session) -> None:
        """A producer that sends an interactive job now and then has each called at once."""
        shop, bulk = add(session, "shop", 0), add(session, "bulk", 300, priority=Priority.BULK)
        for _ in range(5):
            enqueue(session, NewJob(SOURCE, priority=Priority.INTERACTIVE), producer_id=shop)
            assert next_ones(session, 1) == [shop]
            next_ones(session, 5)
        assert bulk

    def test_orders_the_jobs_of_one_producer(self, session: Session) -> None:
        """Within a producer's share a better priority goes first."""
        shop = add(session, "shop", 30)
        add_batch(session, shop, 5, priority=Priority.INTERACTIVE)
        dispatched = dispatch_calls(session, 10, lease=LEASE)
        ranks = [session.get_one(Job, job_id).priority for job_id, _ in dispatched]
        assert ranks == [Priority.INTERACTIVE] * 5 + [Priority.NORMAL] * 5

    def test_lags_no_further_than_it_may(self, session: Session) -> None:
        """A producer that could not be served for long catches up a limited number of calls."""
        stuck, busy = add(session, "stuck", 100), add(session, "busy", 300)
        session.execute(text("INSERT INTO shares (owner, virtual_time) VALUES (:id, 5000)"), {"id": busy})
        next_ones(session, 1)
        taken = next_ones(session, int(MOST_LAG) + 40, 10)
        assert taken.count(busy) >= 20
        assert stuck
