"""Disturbances: steps of a producer, a person, the clock or a process between two steps of work."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cutout.enums import Priority
from tests.interleavings.installation import World

MOST_BATCHES = 8
# Each needs one of the pool's five connections; the world has one, and one holds the lock.
MOST_AT_ONCE = 3


def one_of(things: Any, n: int) -> Any:
    """Select an element by a number of any size."""
    return things[n % len(things)]


@dataclass(frozen=True)
class Disturbance:
    """One disturbance: `n` selects batches, jobs, workers and variants, `budget` is for a batch."""

    world: World
    n: int
    budget: int | None

    @property
    def _batch(self) -> uuid.UUID:
        found: uuid.UUID = one_of(self.world.batches, self.n // 2)
        return found

    @property
    def _job(self) -> uuid.UUID:
        found: uuid.UUID = one_of(self.world.jobs(), self.n)
        return found

    @property
    def _is_odd(self) -> bool:
        return self.n % 2 == 1

    def order(self) -> None:
        """A producer enqueues, sometimes with a plan that waits for approval."""
        if len(self.world.batches) < MOST_BATCHES:
            self.world.order(2 + self.n % 4, budget=self.budget, plan=self.n % 3 == 0)

    def order_again(self) -> None:
        """A producer enqueues known pictures again, in another batch, sometimes as interactive jobs."""
        if len(self.world.batches) < MOST_BATCHES:
            priority = Priority.INTERACTIVE if self._is_odd else Priority.BULK
            self.world.order_again(2 + self.n % 4, skip=self.n // 4, budget=self.budget, priority=priority)

    def serve(self) -> None:
        """A message of reusable jobs arrives, and sometimes arrives again."""
        if self.world.reused:
            message = one_of(self.world.reused, self.n // 4)
            self.world.serve(message)
            if self.n % 4:
                self.world.reused.remove(message)

    def lose_cutout(self) -> None:
        self.world.lose_cutout(self.n)

    def forget_missing(self) -> None:
        self.world.forget_missing()

    def pause(self) -> None:
        self.world.pause(self._batch if self.n % 4 else None)

    def resume(self) -> None:
        """A person lifts all pauses and closes the breaker."""
        self.world.close_breaker()
        for batch_id in [None, *self.world.batches]:
            self.world.resume(batch_id)

    def set_window(self) -> None:
        self.world.set_window(self._batch, is_open=self.n % 4 > 0)

    def set_budget(self) -> None:
        self.world.set_budget(self._batch, self.budget)

    def approve(self) -> None:
        self.world.approve(self._batch)

    def cancel_batch(self) -> None:
        """The API cancels a batch, or dies after its first statement."""
        self.world.cancel_batch(self._batch, and_its_jobs=self._is_odd)

    def cancel_job(self) -> None:
        self.world.cancel(self._job)

    def cancel_running_job(self) -> None:
        """A producer cancels a running job, if possible just before its worker tries to begin a call."""
        may_begin = [held for held in self.world.held_jobs if held.may_begin]
        if self.world.held_jobs:
            held = one_of(may_begin or self.world.held_jobs, self.n)
            self.world.cancel(held.claim.job_id)
            if may_begin and self._is_odd:
                self.world.begin(held)

    def retry(self) -> None:
        """A person retries a job that can be retried, if there is one."""
        can_be = self.world.jobs("state IN ('failed', 'held')") or self.world.jobs()
        self.world.retry(one_of(can_be, self.n))

    def trip_breaker(self) -> None:
        self.world.trip_breaker()

    def let_time_pass(self) -> None:
        self.world.let_time_pass()

    def rescue(self) -> None:
        self.world.rescue()

    def rescue_from_the_living(self) -> None:
        """A worker's heartbeats do not arrive, it works on, and its jobs are dispatched again."""
        if self.world.held_jobs:
            self._rescue_from(one_of(self.world.held_jobs, self.n).worker)

    def answer_late(self) -> None:
        """The response to a call arrives after the worker's jobs were dispatched to others."""
        calling = [held for held in self.world.held_jobs if held.is_calling]
        if calling:
            held = one_of(calling, self.n)
            self._rescue_from(held.worker)
            self._deliver_all()
            self.world.charge(held)
            self.world.read_answer(held)

    def _rescue_from(self, silent: uuid.UUID) -> None:
        self.world.rescue(silent=silent)
        self.world.let_time_pass()
        self.world.tick(1 + self.n % 4)

    def _deliver_all(self) -> None:
        if self.world.living:
            for n, message in enumerate(self.world.messages):
                self.world.deliver(message, one_of(self.world.living, n))
            self.world.messages.clear()

    def audit(self) -> None:
        self.world.audit()

    def replay(self) -> None:
        self.world.replay()

    def kill(self) -> None:
        """A worker dies, and another one starts."""
        if self.world.living:
            self.world.kill(one_of(self.world.living, self.n // 2), keeps_answers=self._is_odd)
        self.world.start_worker()

    def beat(self) -> None:
        if self.world.living:
            self.world.beat(one_of(self.world.living, self.n))

    def begin_at_once(self) -> None:
        """All messages arrive, and some calls begin at the same time, if possible for one last credit."""
        self.world.tick(2 + self.n % 3)
        self._deliver_all()
        for held in [held for held in self.world.held_jobs if held.acquires]:
            self.world.acquire(held)
        may_begin = [held for held in self.world.held_jobs if held.may_begin]
        may_begin.sort(key=lambda held: (not held.claim.has_budget, held.claim.batch_id))
        if may_begin and may_begin[0].claim.has_budget:
            self.world.leave_one_credit(may_begin[0].claim.batch_id)
        self.world.begin_at_once(may_begin[:MOST_AT_ONCE])

    def give_up_and_get_again(self) -> None:
        """A worker's thread gives a job up, during its call if possible; its message arrives again."""
        calling = [held for held in self.world.held_jobs if held.is_calling]
        if self.world.held_jobs:
            held = one_of(calling or self.world.held_jobs, self.n)
            self.world.forget(held)
            self.world.deliver((held.claim.job_id, held.claim.fence), held.worker)
            for again in [its for its in self.world.held_jobs if its.claim.job_id == held.claim.job_id]:
                if again.acquires:
                    self.world.acquire(again)
                if again.may_begin:
                    self.world.begin(again)


# Hypothesis prefers the first ones. Without jobs, or with all of them blocked, the others have no effect.
DISTURBANCES: list[Callable[[Disturbance], None]] = [
    Disturbance.order,
    Disturbance.order_again,
    Disturbance.order_again,
    Disturbance.serve,
    Disturbance.give_up_and_get_again,
    Disturbance.resume,
    Disturbance.resume,
    Disturbance.let_time_pass,
    Disturbance.let_time_pass,
    Disturbance.pause,
    Disturbance.trip_breaker,
    Disturbance.set_window,
    Disturbance.set_budget,
    Disturbance.approve,
    Disturbance.cancel_batch,
    Disturbance.cancel_job,
    Disturbance.cancel_running_job,
    Disturbance.retry,
    Disturbance.rescue,
    Disturbance.rescue_from_the_living,
    Disturbance.answer_late,
    Disturbance.audit,
    Disturbance.replay,
    Disturbance.kill,
    Disturbance.beat,
    Disturbance.begin_at_once,
    Disturbance.lose_cutout,
    Disturbance.forget_missing,
]
