import uuid
from collections import Counter

import pytest

from cutout.webhooks.receivers import Receiver, Waiting
from worker.webhooks import fair_queue as turns_module
from worker.webhooks.fair_queue import (
    AT_FIRST,
    MOST_AT_ONCE,
    MOST_QUEUED,
    QUICK_S,
    SENDERS,
    UNPROVEN_OF_ONE,
    FairQueue,
)

ONE = uuid.UUID(int=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, set by the test."""
    now = [0.0]
    monkeypatch.setattr("worker.webhooks.fair_queue.time.monotonic", lambda: now[0])
    return now


def its(name: str, owner: int = 1) -> Receiver:
    return Receiver(uuid.UUID(int=owner), name)


def add(queue: FairQueue, *receivers: Receiver, proven: bool = False) -> None:
    queue.add([Waiting(receiver, proven) for receiver in receivers])


def taken(queue: FairQueue) -> Receiver | None:
    turn = queue.next()
    return None if turn is None else turn.receiver


def prove(queue: FairQueue, *receivers: Receiver) -> None:
    """Let these receivers have answered once."""
    for receiver in receivers:
        add(queue, receiver)
        assert taken(queue) == receiver
        queue.done(receiver, failing=False, more=False)


def all_taken(queue: FairQueue) -> list[Receiver]:
    """All turns that are available now."""
    found = []
    while receiver := taken(queue):
        found.append(receiver)
    return found


class TestTurns:
    def test_go_round(self) -> None:
        """A receiver with ten thousand messages does not come before the others again and again."""
        queue = FairQueue()
        add(queue, its("a"), its("b"))
        order = []
        for _ in range(4):
            receiver = taken(queue)
            assert receiver is not None
            order.append(receiver.host)
            queue.done(receiver, failing=False, more=True)
        assert order == ["a", "b", "a", "b"]

    def test_go_round_by_producer_first(self) -> None:
        """A thousand receivers of one producer get as many turns as one receiver of another."""
        queue = FairQueue()
        add(queue, *(its(str(n)) for n in range(MOST_QUEUED)), its("b", 2), proven=True)
        order = []
        for _ in range(10):
            receiver = taken(queue)
            assert receiver is not None
            order.append(receiver.owner.int)
            queue.done(receiver, failing=False, more=True)
        assert Counter(order) == {1: 5, 2: 5}

    def test_are_more_at_a_time_for_one_that_answers(self) -> None:
        """One turn until it has answered, then one more for each quick answer, up to half of the senders."""
        queue = FairQueue()
        add(queue, its("a"))
        assert len(all_taken(queue)) == 1
        queue.done(its("a"), failing=False, more=True)
        assert len(all_taken(queue)) == AT_FIRST + 1
        for _ in range(MOST_AT_ONCE):
            queue.done(its("a"), failing=False, more=True)
            all_taken(queue)
        assert queue._owners[ONE].sending == MOST_AT_ONCE
        assert queue.wanted == 0

    def test_are_few_for_one_that_is_slow(self) -> None:
        """A slow answer takes back the additional turns; so does an error."""
        queue = FairQueue()
        prove(queue, its("a"))
        add(queue, its("a"))
        assert len(all_taken(queue)) == AT_FIRST + 1
        queue.done(its("a"), failing=False, more=True, took_s=QUICK_S)
        assert all_taken(queue) == []
        for _ in range(AT_FIRST):
            queue.done(its("a"), failing=False, more=True, took_s=QUICK_S)
        assert len(all_taken(queue)) == AT_FIRST

    def test_leave_room_for_those_that_answer(self) -> None:
        """Any number of dead addresses of one producer takes at most four senders."""
        queue = FairQueue()
        prove(queue, its("good"))
        add(queue, *(its(f"dead{n}") for n in range(100)))
        assert len(all_taken(queue)) == UNPROVEN_OF_ONE
        add(queue, its("good"), its("new", 2))
        assert Counter(all_taken(queue)) == {its("good"): AT_FIRST + 1, its("new", 2): 1}

    def test_leave_room_whatever_one_producers_receivers_do(self) -> None:
        """Receivers that answered once and then hang take at most half of the senders."""
        queue = FairQueue()
        add(queue, *(its(str(n)) for n in range(MOST_QUEUED)), proven=True)
        assert len(all_taken(queue)) == SENDERS // 2
        add(queue, its("b", 2), proven=True)
        assert set(all_taken(queue)) == {its("b", 2)}

    @pytest.mark.parametrize("proven", [False, True])
    def test_are_had_by_one_that_comes_after_many(self, *, proven: bool) -> None:
        """Eight producers whose receivers all hang do not delay the ninth's first message."""
        queue = FairQueue()
        for owner in range(1, 10):
            add(queue, *(its(str(n), owner) for n in range(100)), proven=proven)
            if owner < 6 or not proven:
                assert uuid.UUID(int=owner) in {receiver.owner for receiver in all_taken(queue)}

    def test_count_a_receiver_that_fails_with_two_under_way(self) -> None:
        """Its open messages count as unproven, and no longer once it answers again."""
        queue = FairQueue()
        prove(queue, its("a"))
        for _ in range(2):
            add(queue, its("a"))
            assert taken(queue) == its("a")
        queue.done(its("a"), failing=True, more=False)
        assert queue._owners[ONE].unproven == queue._unproven == 1
        add(queue, *(its(f"new{n}") for n in range(9)))
        assert len(all_taken(queue)) == UNPROVEN_OF_ONE - 1
        queue.done(its("a"), failing=True, more=False)
        assert len(all_taken(queue)) == 1

    def test_count_right_when_a_receiver_proves_itself(self) -> None:
        """All its open messages then count as proven."""
        queue = FairQueue()
        add(queue, its("a"), proven=True)
        assert len(all_taken(queue)) == AT_FIRST
        queue.done(its("a"), failing=True, more=False)
        queue.done(its("a"), failing=False, more=False)
        owner = queue._owners[ONE]
        assert (owner.sending, owner.unproven, queue._sending, queue._unproven) == (0, 0, 0, 0)

    def test_are_not_given_while_a_receiver_is_delayed(self, clock: list[float]) -> None:
        """The delay grows with each failure, to a minute at most; one success ends it."""
        queue = FairQueue()
        for rest in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
            add(queue, its("a"))
            assert taken(queue) == its("a")
            queue.done(its("a"), failing=True, more=True)
            clock[0] += rest - 0.01
            assert taken(queue) is None
            clock[0] += 0.02
        prove(queue, its("a"))
        add(queue, its("a"))
        assert taken(queue) == its("a")

    def test_that_find_nothing_to_send_teach_nothing(self) -> None:
        """Another dispatcher may have been faster."""
        queue = FairQueue()
        add(queue, its("a"))
        assert taken(queue) == its("a")
        queue.done(its("a"), failing=None, more=False)
        assert taken(queue) is None

    def test_of_one_that_answered_before_this_leader_need_no_proof(self) -> None:
        """The table has the proof; later results override it."""
        queue = FairQueue()
        add(queue, its("a"), proven=True)
        turn = queue.next()
        assert turn is not None
        assert turn.proven
        queue.done(its("a"), failing=True, more=False)
        add(queue, its("a"), proven=True)
        assert not queue._owners[ONE].hosts["a"].proven

    def test_remember_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Idle receivers of a producer are forgotten beyond the bound, without affecting other producers."""
        monkeypatch.setattr(turns_module, "MOST_REMEMBERED", 10)
        queue = FairQueue()
        prove(queue, its("b", 2))
        prove(queue, *(its(f"a{n}") for n in range(50)))
        assert len(queue._owners[ONE].hosts) <= 11
        assert queue._owners[uuid.UUID(int=2)].hosts["b"].proven

    def test_wait_in_a_bounded_number(self) -> None:
        """The receivers of a producer in the queue are bounded; the search finds the others later."""
        queue = FairQueue()
        add(queue, *(its(str(n)) for n in range(MOST_QUEUED + 100)), its("b", 2))
        assert len(queue) == MOST_QUEUED + 1
