"""Random interleavings of everything that anybody does to jobs, and what must hold whatever the order."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine

from jobs.store import NotBegun
from tests.interleavings import invariants
from tests.interleavings.hand import Hand
from tests.interleavings.installation import World

MAY_BEGIN = """
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
MOST_BATCHES = 4
KEPT_MESSAGES = 2
# Of ten draws of work: so many go on with a job, then so many deliver a message, the rest are ticks.
CARRIES_BELOW = 6
DELIVERS_BELOW = 9


class How(StrEnum):
    """A worker's next step with a job. It mostly goes as it should."""

    WELL = "well"
    STILL_WELL = "still well"
    WELL_AGAIN = "well again"
    FAILS = "fails"
    IS_LOST = "is lost"
    GIVES_UP = "gives up"


COPIES = defaultdict(lambda: World.store_cutout, {How.FAILS: World.fail_copy, How.IS_LOST: World.lose_result})
ANSWERS = defaultdict(lambda: World.read_answer, {How.IS_LOST: World.drop_answer})


ACTS: list[Callable[["Interleavings", uuid.UUID, int, int | None], None]] = [
    lambda m, batch_id, n, budget: m.order(n, budget),
    lambda m, batch_id, n, budget: m.world.pause(batch_id if n % 2 else None),
    lambda m, batch_id, n, budget: m.world.resume(batch_id if n % 2 else None),
    lambda m, batch_id, n, budget: m.world.set_window(batch_id, is_open=n % 2 == 0),
    lambda m, batch_id, n, budget: m.world.set_budget(batch_id, budget),
    lambda m, batch_id, n, budget: m.world.approve(batch_id),
    lambda m, batch_id, n, budget: m.world.cancel_batch(batch_id, and_its_jobs=n % 2 == 0),
    lambda m, batch_id, n, budget: m.world.cancel(m.some_job(n)),
    lambda m, batch_id, n, budget: m.world.retry(m.some_job(n)),
    lambda m, batch_id, n, budget: m.world.trip_breaker(),
    lambda m, batch_id, n, budget: m.world.close_breaker(),
    lambda m, batch_id, n, budget: m.world.let_time_pass(),
    lambda m, batch_id, n, budget: m.world.rescue(),
    lambda m, batch_id, n, budget: m.world.audit(),
    lambda m, batch_id, n, budget: m.world.replay(),
    lambda m, batch_id, n, budget: m.kill(n),
    lambda m, batch_id, n, budget: m.beat(n),
]


class Interleavings(RuleBasedStateMachine):
    """A subclass says where its databases come from."""

    new_engine: Callable[[], Engine]
    give_back: Callable[[Engine], None]
    reached: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self._engine = type(self).new_engine()
        self.world = World(self._engine)

    def teardown(self) -> None:
        """Whatever the order was, no job waits for nothing, and each can be brought to its end."""
        try:
            invariants.nothing_waits_for_nothing(self.world)
            invariants.nobody_is_forgotten(self.world)
            invariants.everything_ends(self.world)
        finally:
            type(self).give_back(self._engine)

    @initialize(budget=st.none() | st.integers(0, 3))
    def start(self, budget: int | None) -> None:
        """Something to interleave."""
        self.world.start_worker()
        self.world.order(3, budget=budget)
        self.world.tick(2)

    @rule(which=st.integers(0, 9), n=PICK, to=PICK, how=st.sampled_from(How))
    def work(self, which: int, n: int, to: int, how: How) -> None:
        """The dispatcher's tick, a message that arrives, or a worker's next step with a job.

        One rule, for hypothesis leaves whole rules out of a run, and without one of these nothing moves.
        """
        if self.world.hands and which < CARRIES_BELOW:
            self._carry(self._one_of(self.world.hands, n), how)
        elif self.world.messages and self._living() and which < DELIVERS_BELOW:
            self._deliver(self._one_of(self.world.messages, n), self._one_of(self._living(), to))
        else:
            self.world.tick(1 + n % 4)

    @rule(act=st.sampled_from(ACTS), n=PICK, budget=st.none() | st.integers(0, 6))
    def disturb(self, act: Callable[..., None], n: int, budget: int | None) -> None:
        """A person, the time, or whatever else does not go as usual."""
        act(self, self._one_of(self.world.batches, n), n, budget)

    def order(self, n: int, budget: int | None) -> None:
        """A producer enqueues, now and then a plan that waits for approval."""
        if len(self.world.batches) < MOST_BATCHES:
            self.world.order(1 + n % 4, budget=budget, plan=n % 3 == 0)

    def kill(self, n: int) -> None:
        """A worker dies, and another is started."""
        if self._living():
            self.world.kill(self._one_of(self._living(), n), keeps_answers=n % 2 == 0)
        self.world.start_worker()

    def beat(self, n: int) -> None:
        """A worker says that it lives."""
        if self._living():
            self.world.beat(self._one_of(self._living(), n))

    def some_job(self, n: int) -> uuid.UUID:
        """A job, whatever its state."""
        found: uuid.UUID = self._one_of(self.world.jobs(), n)
        return found

    def _deliver(self, message: tuple[uuid.UUID, int], worker: uuid.UUID) -> None:
        # Perhaps not for the last time: it stays on its way until another is chosen first.
        self.world.deliver(message, worker)
        if len(self.world.messages) > KEPT_MESSAGES:
            self.world.messages.remove(message)

    def _carry(self, hand: Hand, how: How) -> None:
        if how is How.GIVES_UP:
            self.world.forget(hand)
        elif hand.copies:
            COPIES[how](self.world, hand)
        elif hand.url is not None:
            ANSWERS[how](self.world, hand)
        elif hand.is_calling:
            self._call(hand, how)
        elif how is How.FAILS:
            self.world.fail_source(hand)
        else:
            self._begin(hand)

    def _begin(self, hand: Hand) -> None:
        if isinstance(self.world.begin(hand), NotBegun):
            return
        self.reached["begun"] += 1
        (row,) = self.world.rows(MAY_BEGIN, id=hand.claim.job_id)
        assert row["may"], "a call was begun that must not go out"

    def _call(self, hand: Hand, how: How) -> None:
        match how:
            case How.FAILS:
                self.world.refuse(hand)
            case How.IS_LOST:
                self.world.drop_answer(hand)
            case _:
                hand.url = self.world.endpoint.charge(hand.claim.job_id)
                self.reached["charged"] += 1

    @invariant()
    def every_charge_is_in_the_ledger(self) -> None:
        invariants.charges_are_in_the_ledger(self.world)

    def _living(self) -> list[uuid.UUID]:
        return [worker for worker, lives in self.world.workers.items() if lives]

    @staticmethod
    def _one_of(things: Any, n: int) -> Any:
        return things[n % len(things)]
