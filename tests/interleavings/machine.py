"""Random interleavings of everything that anybody does to jobs, and what must hold whatever the order."""

import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine

from jobs.store import NotBegun
from tests.interleavings import invariants
from tests.interleavings.hand import Hand
from tests.interleavings.installation import World

MayBegin = """
    SELECT jobs.cancelled_at IS NULL AND batches.cancelled_at IS NULL AND batches.paused_at IS NULL
        AND (closes_at IS NULL OR closes_at > now()) AND (budget IS NULL OR spent <= budget)
        AND (SELECT bool_and(paused_at IS NULL) FROM line)
        AND jobs.step = 'call'
        AND NOT EXISTS (
            SELECT FROM ingests WHERE ingests.batch_id = batches.id
            AND options ? 'plan' AND NOT options ? 'approved'
        ) AS may
    FROM jobs JOIN batches ON batches.id = batch_id WHERE jobs.id = :id
"""
PICK = st.integers(0, 10_000)


class Interleavings(RuleBasedStateMachine):
    """A subclass says where its databases come from."""

    new_engine: Callable[[], Engine]
    give_back: Callable[[Engine], None]

    def __init__(self) -> None:
        super().__init__()
        self._engine = type(self).new_engine()
        self.world = World(self._engine)

    def teardown(self) -> None:
        try:
            invariants.nothing_waits_for_nothing(self.world)
            invariants.nobody_is_forgotten(self.world)
            invariants.everything_ends(self.world)
        finally:
            type(self).give_back(self._engine)

    @initialize(budget=st.none() | st.integers(0, 3))
    def start(self, budget: int | None) -> None:
        self.world.start_worker()
        self.world.order(3, budget=budget)

    # Producers and people.

    @precondition(lambda self: len(self.world.batches) < 4)
    @rule(count=st.integers(1, 4), budget=st.none() | st.integers(0, 3), plan=st.booleans())
    def order(self, count: int, budget: int | None, *, plan: bool) -> None:
        self.world.order(count, budget=budget, plan=plan)

    @rule(n=PICK)
    def pause(self, n: int) -> None:
        self.world.pause(self._one_of([None, *self.world.batches], n))

    @rule(n=PICK)
    def resume(self, n: int) -> None:
        self.world.resume(self._one_of([None, *self.world.batches], n))

    @rule(n=PICK, is_open=st.sampled_from([True, False, None]))
    def set_window(self, n: int, *, is_open: bool | None) -> None:
        self.world.set_window(self._one_of(self.world.batches, n), is_open=is_open)

    @rule(n=PICK, budget=st.none() | st.integers(0, 6))
    def set_budget(self, n: int, budget: int | None) -> None:
        self.world.set_budget(self._one_of(self.world.batches, n), budget)

    @rule(n=PICK)
    def approve(self, n: int) -> None:
        self.world.approve(self._one_of(self.world.batches, n))

    @rule(n=PICK, whole=st.booleans())
    def cancel_batch(self, n: int, *, whole: bool) -> None:
        self.world.cancel_batch(self._one_of(self.world.batches, n), and_its_jobs=whole)

    @rule(n=PICK)
    def cancel(self, n: int) -> None:
        self.world.cancel(self._one_of(self.world.jobs(), n))

    @rule(n=PICK)
    def retry(self, n: int) -> None:
        self.world.retry(self._one_of(self.world.jobs(), n))

    @rule()
    def trip_breaker(self) -> None:
        self.world.trip_breaker()

    @rule()
    def close_breaker(self) -> None:
        self.world.close_breaker()

    # The dispatcher and the time.

    @rule(count=st.integers(1, 4))
    def tick(self, count: int) -> None:
        self.world.tick(count)

    @rule()
    def rescue(self) -> None:
        self.world.rescue()

    @rule()
    def audit(self) -> None:
        self.world.audit()

    @rule()
    def let_time_pass(self) -> None:
        self.world.let_time_pass()

    # Workers.

    @precondition(lambda self: sum(self.world.workers.values()) < 3)
    @rule()
    def start_worker(self) -> None:
        self.world.start_worker()

    @precondition(lambda self: self.world.messages and self._living())
    @rule(n=PICK, to=PICK, again=st.booleans())
    def deliver(self, n: int, to: int, *, again: bool) -> None:
        message = self._one_of(self.world.messages, n)
        if not again:
            self.world.messages.remove(message)
        self.world.deliver(message, self._one_of(self._living(), to))

    @precondition(lambda self: self._hands(self._waits))
    @rule(n=PICK)
    def begin(self, n: int) -> None:
        hand = self._one_of(self._hands(self._waits), n)
        if not isinstance(self.world.begin(hand), NotBegun):
            (row,) = self.world.rows(MayBegin, id=hand.claim.job_id)
            assert row["may"], "a call was begun that must not go out"

    @precondition(lambda self: self._hands(self._is_out))
    @rule(n=PICK)
    def charge(self, n: int) -> None:
        hand = self._one_of(self._hands(self._is_out), n)
        hand.url = self.world.endpoint.charge(hand.claim.job_id)

    @precondition(lambda self: self._hands(self._is_charged))
    @rule(n=PICK)
    def read_answer(self, n: int) -> None:
        self.world.read_answer(self._one_of(self._hands(self._is_charged), n))

    @precondition(lambda self: self._hands(self._is_out))
    @rule(n=PICK)
    def refuse(self, n: int) -> None:
        self.world.refuse(self._one_of(self._hands(self._is_out), n))

    @precondition(lambda self: self._hands(lambda hand: hand.is_calling))
    @rule(n=PICK)
    def drop_answer(self, n: int) -> None:
        self.world.drop_answer(self._one_of(self._hands(lambda hand: hand.is_calling), n))

    @precondition(lambda self: self._hands(self._waits))
    @rule(n=PICK)
    def fail_source(self, n: int) -> None:
        self.world.fail_source(self._one_of(self._hands(self._waits), n))

    @precondition(lambda self: self._hands(lambda hand: hand.copies))
    @rule(n=PICK, end=st.sampled_from([World.store_cutout, World.fail_copy, World.lose_result]))
    def copy(self, n: int, end: Callable[[World, Hand], None]) -> None:
        end(self.world, self._one_of(self._hands(lambda hand: hand.copies), n))

    @precondition(lambda self: self.world.hands)
    @rule(n=PICK)
    def forget(self, n: int) -> None:
        self.world.forget(self._one_of(self.world.hands, n))

    @precondition(lambda self: self._living())
    @rule(n=PICK)
    def beat(self, n: int) -> None:
        self.world.beat(self._one_of(self._living(), n))

    @precondition(lambda self: self._living())
    @rule(n=PICK, keeps_answers=st.booleans())
    def kill(self, n: int, *, keeps_answers: bool) -> None:
        self.world.kill(self._one_of(self._living(), n), keeps_answers=keeps_answers)

    @rule()
    def replay(self) -> None:
        self.world.replay()

    @invariant()
    def every_charge_is_in_the_ledger(self) -> None:
        invariants.charges_are_in_the_ledger(self.world)

    def _living(self) -> list[uuid.UUID]:
        return [worker for worker, lives in self.world.workers.items() if lives]

    def _hands(self, which: Callable[[Hand], bool]) -> list[Hand]:
        return [hand for hand in self.world.hands if which(hand)]

    @staticmethod
    def _waits(hand: Hand) -> bool:
        return not hand.is_calling and not hand.copies

    @staticmethod
    def _is_out(hand: Hand) -> bool:
        return hand.is_calling and hand.url is None

    @staticmethod
    def _is_charged(hand: Hand) -> bool:
        return hand.url is not None

    @staticmethod
    def _one_of(things: Any, n: int) -> Any:
        return things[n % len(things)]
