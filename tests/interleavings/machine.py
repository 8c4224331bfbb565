"""Random interleavings of all actions on jobs, and the invariants of every order."""

import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine

from cutout.enums import Priority
from cutout.queue.settle import RetryLimits
from tests.interleavings import invariants, same_picture
from tests.interleavings.disturbances import DISTURBANCES, Disturbance, one_of
from tests.interleavings.held_job import HeldJob
from tests.interleavings.installation import World

PICK = st.integers(0, 999)
# One of so many messages arrives again.
COMES_AGAIN = 5
# Of ten draws of work so many continue with a job, then so many deliver a message; the others are ticks.
CARRIES_BELOW = 6
DELIVERS_BELOW = 9


class How(StrEnum):
    """Outcome of a worker's next step with a job."""

    WELL = "well"
    FAILS = "fails"
    IS_LOST = "is lost"
    GIVES_UP = "gives up"


MOSTLY_WELL = [How.WELL] * 9 + [How.FAILS, How.IS_LOST, How.GIVES_UP]


@dataclass(frozen=True)
class Step:
    """A tick, a message that arrives, or a worker's next step with a job; `n` selects."""

    n: int
    to: int
    how: How


STEP = st.builds(Step, n=PICK, to=PICK, how=st.sampled_from(MOSTLY_WELL))
COPIES = defaultdict(lambda: World.store_cutout, {How.FAILS: World.fail_copy, How.IS_LOST: World.lose_result})
ANSWERS = defaultdict(lambda: World.read_answer, {How.IS_LOST: World.drop_answer})


class Interleavings(RuleBasedStateMachine):
    """The state machine; a subclass provides its databases."""

    new_engine: Callable[[], Engine]
    give_back: Callable[[Engine], None]
    reached: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self._engine = type(self).new_engine()
        self.world = World(self._engine)

    def teardown(self) -> None:
        """Check that no job waits without a reason, and that each can be brought to its end."""
        try:
            # A failure of a step must not be hidden by errors that follow from it.
            if sys.exc_info()[0] is None:
                invariants.every_wait_has_a_reason(self.world)
                invariants.no_running_job_is_forgotten(self.world)
                invariants.everything_ends(self.world)
        finally:
            self.world.close()
            type(self).give_back(self._engine)

    @initialize(budget=st.none() | st.integers(0, 3), most_unknown=st.integers(0, 1))
    def start(self, budget: int | None, most_unknown: int) -> None:
        """Create jobs to interleave."""
        self.world.bounds = RetryLimits(unknown=most_unknown)
        self.world.start_worker()
        self.world.order(4, budget=budget)
        self.world.order(4)
        self.world.tick(4)
        self.world.order_again(6, skip=0, priority=Priority.INTERACTIVE)

    @rule(
        steps=st.lists(STEP, min_size=2, max_size=8),
        then=st.sampled_from(DISTURBANCES),
        n=PICK,
        budget=st.none() | st.integers(0, 6),
    )
    def work(
        self, steps: list[Step], then: Callable[[Disturbance], None], n: int, budget: int | None
    ) -> None:
        """Run some steps of work, then a disturbance.

        This is one rule, since hypothesis leaves whole rules out of some runs: without work nothing moves.
        """
        for step in steps:
            self._work(step)
        self.reached[then.__name__] += 1
        then(Disturbance(self.world, n, budget))
        self._check_begun_calls()

    @invariant()
    def no_picture_is_paid_twice_without_a_trace(self) -> None:
        same_picture.no_picture_is_paid_twice_without_a_trace(self.world)

    @invariant()
    def waiting_jobs_wait_for_their_buyer_only(self) -> None:
        self.world.promote_waiting()
        same_picture.waiting_jobs_have_a_buyer(self.world)
        same_picture.a_buyer_inherits_priority(self.world)

    @invariant()
    def charges_are_in_the_ledger(self) -> None:
        invariants.charges_are_in_the_ledger(self.world)

    def _work(self, step: Step) -> None:
        which, n = step.n % 10, step.n // 10
        if self.world.held_jobs and which < CARRIES_BELOW:
            self._carry(one_of(self.world.held_jobs, n), step.how)
        elif self.world.messages and self.world.living and which < DELIVERS_BELOW:
            self._deliver(one_of(self.world.messages, n), step.to)
        else:
            self.world.tick(1 + n % 4)
        self._check_begun_calls()

    def _check_begun_calls(self) -> None:
        self.reached["begun"] += len(self.world.begun)
        same_picture.only_its_buyer_calls(self.world)
        invariants.only_allowed_calls_were_begun(self.world)

    def _deliver(self, message: tuple[uuid.UUID, int], to: int) -> None:
        """Deliver a message to a worker; sometimes it arrives again."""
        self.world.deliver(message, one_of(self.world.living, to))
        if to % COMES_AGAIN:
            self.world.messages.remove(message)

    def _carry(self, held: HeldJob, how: How) -> None:
        if how is How.GIVES_UP:
            self.world.forget(held)
        elif held.copies:
            COPIES[how](self.world, held)
        elif held.url is not None:
            ANSWERS[how](self.world, held)
        elif held.is_calling:
            self._call(held, how)
        elif how is How.FAILS:
            self.world.fail_source(held)
        elif held.acquires:
            self._acquire(held)
        else:
            self.world.begin(held)

    def _acquire(self, held: HeldJob) -> None:
        self.world.acquire(held)
        self.reached["bought by another"] += held not in self.world.held_jobs

    def _call(self, held: HeldJob, how: How) -> None:
        match how:
            case How.FAILS:
                self.world.refuse(held)
            case How.IS_LOST:
                self.world.drop_answer(held)
            case _:
                self.world.charge(held)
                self.reached["charged"] += 1
