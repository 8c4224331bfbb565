"""The fair semaphore: slots are given to owners in turn."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from cutout.images.fair_semaphore import FairSemaphore, Owner
from tests.support.machine import scaled
from tests.support.system import wait_until

A, B, C = (uuid.UUID(int=number) for number in (1, 2, 3))


@dataclass
class Users:
    """Threads that each hold a slot until released."""

    slots: FairSemaphore
    came: list[Owner] = field(default_factory=list)
    left: list[Owner] = field(default_factory=list)
    leave: dict[Owner, threading.Semaphore] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def ask(self, owner: Owner, count: int = 1) -> None:
        """Request this number of further slots; returns once the threads wait or hold one."""
        self.leave.setdefault(owner, threading.Semaphore(0))
        before = self._known(owner)
        for _ in range(count):
            self.threads.append(threading.Thread(target=self._use, args=(owner,)))
            self.threads[-1].start()
        wait_until(lambda: self._known(owner) == before + count, "they ask")

    def end(self, owner: Owner) -> None:
        """End one of the owner's threads; the next waiting one gets its slot."""
        all_waiting = sum(self.slots.waiting(each) for each in self.leave)
        before, left = len(self.came), len(self.left)
        self.leave[owner].release()
        wait_until(lambda: len(self.left) == left + 1, "the place is given back")
        wait_until(lambda: len(self.came) == before + min(all_waiting, 1), "the next one")

    def _known(self, owner: Owner) -> int:
        return self.slots.waiting(owner) + self.came.count(owner)

    def _use(self, owner: Owner) -> None:
        with self.slots.held(owner):
            self.came.append(owner)
            self.leave[owner].acquire()
        self.left.append(owner)


@contextmanager
def users_of(total: int) -> Iterator[Users]:
    users = Users(FairSemaphore(total))
    yield users
    for owner in users.leave:
        users.leave[owner].release(100)
    for thread in users.threads:
        thread.join(scaled(5))
        assert not thread.is_alive()


@pytest.fixture
def users() -> Iterator[Users]:
    """Users of two slots."""
    with users_of(2) as made:
        yield made


def test_one_owner_takes_every_slot_while_nobody_else_waits(users: Users) -> None:
    """It takes no more slots than there are."""
    users.ask(A, 5)
    assert (users.came, users.slots.waiting(A)) == ([A, A], 3)


def test_another_is_next_however_many_of_one_wait(users: Users) -> None:
    """Then each owner has one of the two, whichever of them ends."""
    users.ask(A, 10)
    users.ask(B, 3)
    for leaving in (A, A, B, A, B):
        users.end(leaving)
    assert users.came == [A, A, B, A, B, A, B]


def test_several_are_served_round_robin(users: Users) -> None:
    """Each gets a slot once per round; the first ones do not come first again."""
    for owner in (A, B, C, None):
        users.ask(owner, 10)
    for _ in range(12):
        users.end(users.came[-2])
    assert users.came[2:] == [B, A, C, None] * 3


def test_the_operator_is_an_owner_like_others(users: Users) -> None:
    """Jobs without a producer wait like those of a producer."""
    users.ask(A, 5)
    users.ask(None)
    users.end(A)
    assert users.came == [A, A, None]


def test_an_owner_that_has_left_is_forgotten(users: Users) -> None:
    """Its next slot is as any other owner's."""
    users.ask(A)
    users.end(A)
    users.ask(B, 2)
    users.ask(A)
    users.ask(C)
    users.end(B)
    assert users.came == [A, B, B, A]


def test_an_error_releases_the_slot() -> None:
    """The next waiting thread gets it."""
    slots = FairSemaphore(1)
    with pytest.raises(ValueError, match="x"), slots.held(A):
        raise ValueError("x")
    with slots.held(B):
        assert slots.waiting(A) == 0
