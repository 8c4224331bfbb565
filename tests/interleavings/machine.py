"""Random interleavings of everything that anybody does to jobs, and what must hold whatever the order."""

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
from cutout.queue.settle import Bounds
from tests.interleavings import invariants, twins
from tests.interleavings.disturbances import DISTURBANCES, Disturbance, one_of
from tests.interleavings.hand import Hand
from tests.interleavings.installation import World

PICK = st.integers(0, 999)
# One message of so many comes again.
COMES_AGAIN = 5
# Of ten draws of work: so many go on with a job, then so many deliver a message, the rest are ticks.
CARRIES_BELOW = 6
DELIVERS_BELOW = 9


class How(StrEnum):
    """A worker's next step with a job."""

    WELL = "well"
    FAILS = "fails"
    IS_LOST = "is lost"
    GIVES_UP = "gives up"


MOSTLY_WELL = [How.WELL] * 9 + [How.FAILS, How.IS_LOST, How.GIVES_UP]


@dataclass(frozen=True)
class Step:
    """The dispatcher's tick, a message that arrives, or a worker's next step with a job: `n` chooses."""

    n: int
    to: int
    how: How


STEP = st.builds(Step, n=PICK, to=PICK, how=st.sampled_from(MOSTLY_WELL))
COPIES = defaultdict(lambda: World.store_cutout, {How.FAILS: World.fail_copy, How.IS_LOST: World.lose_result})
ANSWERS = defaultdict(lambda: World.read_answer, {How.IS_LOST: World.drop_answer})


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
            # What broke a step is not to be hidden by what follows from it.
            if sys.exc_info()[0] is None:
                invariants.nothing_waits_for_nothing(self.world)
                invariants.nobody_is_forgotten(self.world)
                invariants.everything_ends(self.world)
        finally:
            self.world.close()
            type(self).give_back(self._engine)

    @initialize(budget=st.none() | st.integers(0, 3), most_unknown=st.integers(0, 1))
    def start(self, budget: int | None, most_unknown: int) -> None:
        """Something to interleave."""
        self.world.bounds = Bounds(unknown=most_unknown)
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
        """Some steps of what should happen, then something else.

        One rule, for hypothesis leaves whole rules out of a run: without work nothing moves.
        """
        for step in steps:
            self._work(step)
        self.reached[then.__name__] += 1
        then(Disturbance(self.world, n, budget))
        self._look_at_what_was_begun()

    @invariant()
    def no_picture_is_paid_twice_without_a_trace(self) -> None:
        twins.no_picture_is_paid_twice_without_a_trace(self.world)

    @invariant()
    def twins_wait_for_their_buyer_alone(self) -> None:
        self.world.look_at_twins()
        twins.nobody_waits_for_who_does_not_buy(self.world)
        twins.a_buyer_goes_in_the_place_of_its_first_twin(self.world)

    @invariant()
    def charges_are_in_the_ledger(self) -> None:
        invariants.charges_are_in_the_ledger(self.world)

    def _work(self, step: Step) -> None:
        which, n = step.n % 10, step.n // 10
        if self.world.hands and which < CARRIES_BELOW:
            self._carry(one_of(self.world.hands, n), step.how)
        elif self.world.messages and self.world.living and which < DELIVERS_BELOW:
            self._deliver(one_of(self.world.messages, n), step.to)
        else:
            self.world.tick(1 + n % 4)
        self._look_at_what_was_begun()

    def _look_at_what_was_begun(self) -> None:
        self.reached["begun"] += len(self.world.begun)
        twins.only_its_buyer_calls(self.world)
        invariants.only_allowed_calls_were_begun(self.world)

    def _deliver(self, message: tuple[uuid.UUID, int], to: int) -> None:
        """A message arrives at a worker, and now and then comes once more."""
        self.world.deliver(message, one_of(self.world.living, to))
        if to % COMES_AGAIN:
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
        elif hand.asks:
            self._ask(hand)
        else:
            self.world.begin(hand)

    def _ask(self, hand: Hand) -> None:
        self.world.ask(hand)
        self.reached["bought by another"] += hand not in self.world.hands

    def _call(self, hand: Hand, how: How) -> None:
        match how:
            case How.FAILS:
                self.world.refuse(hand)
            case How.IS_LOST:
                self.world.drop_answer(hand)
            case _:
                self.world.charge(hand)
                self.reached["charged"] += 1
