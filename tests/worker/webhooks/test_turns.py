import pytest

from worker.webhooks import turns as turns_module
from worker.webhooks.turns import AT_FIRST, MOST_AT_ONCE, QUICK_S, UNPROVEN_AT_ONCE, Turns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, to be changed by hand."""
    now = [0.0]
    monkeypatch.setattr("worker.webhooks.turns.time.monotonic", lambda: now[0])
    return now


def prove(turns: Turns, *names: str) -> None:
    """Let these have answered once."""
    for name in names:
        turns.add([name])
        assert turns.next() == name
        turns.done(name, ill=False, more=False)


def taken_at_once(turns: Turns) -> int:
    """How many turns can be had now."""
    count = 0
    while turns.next():
        count += 1
    return count


class TestTurns:
    def test_go_round(self) -> None:
        """A receiver with ten thousand messages does not come before the others again and again."""
        turns = Turns()
        turns.add(["a", "b"])
        taken = []
        for _ in range(4):
            name = turns.next()
            assert name is not None
            taken.append(name)
            turns.done(name, ill=False, more=True)
        assert taken == ["a", "b", "a", "b"]

    def test_are_more_at_a_time_for_one_that_answers(self) -> None:
        """One until it has answered; then one more for each quick answer, up to a bound."""
        turns = Turns()
        turns.add(["a"])
        assert taken_at_once(turns) == 1
        turns.done("a", ill=False, more=True)
        assert taken_at_once(turns) == AT_FIRST + 1
        for _ in range(MOST_AT_ONCE):
            turns.done("a", ill=False, more=True)
            taken_at_once(turns)
        assert turns._hosts["a"].sending == MOST_AT_ONCE
        assert turns.wanted == 0

    def test_are_few_for_one_that_is_slow(self) -> None:
        """Each answer of a second or more takes back what it was given; so does an error."""
        turns = Turns()
        prove(turns, "a")
        turns.add(["a"])
        assert taken_at_once(turns) == AT_FIRST + 1
        turns.done("a", ill=False, more=True, took_s=QUICK_S)
        assert taken_at_once(turns) == 0
        for _ in range(AT_FIRST):
            turns.done("a", ill=False, more=True, took_s=QUICK_S)
        assert taken_at_once(turns) == AT_FIRST

    def test_leave_room_for_those_that_answer(self) -> None:
        """Any number of dead addresses takes half of the senders at most."""
        turns = Turns()
        prove(turns, "good")
        dead = [f"dead{n}" for n in range(100)]
        turns.add(dead)
        assert [turns.next() for _ in range(UNPROVEN_AT_ONCE)] == dead[:UNPROVEN_AT_ONCE]
        assert turns.next() is None
        turns.add(["good"])
        assert turns.next() == "good"

    def test_count_a_receiver_that_falls_ill_with_two_out(self) -> None:
        """What it still holds counts among the unproven, and no longer once it is back."""
        turns = Turns()
        prove(turns, "a")
        for _ in range(2):
            turns.add(["a"])
            assert turns.next() == "a"
        turns.done("a", ill=True, more=False)
        turns.add([f"new{n}" for n in range(9)])
        assert sum(turns.next() is not None for _ in range(9)) == UNPROVEN_AT_ONCE - 1
        turns.done("a", ill=True, more=False)
        assert turns.next() is not None
        assert turns.next() is None

    def test_are_not_given_while_a_receiver_rests(self, clock: list[float]) -> None:
        """It rests longer after each failure, a minute at most, and is well again after one success."""
        turns = Turns()
        for rest in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
            turns.add(["a"])
            assert turns.next() == "a"
            turns.done("a", ill=True, more=True)
            clock[0] += rest - 0.01
            assert turns.next() is None
            clock[0] += 0.02
        prove(turns, "a")
        turns.add(["a"])
        assert turns.next() == "a"

    def test_that_find_nothing_to_send_teach_nothing(self) -> None:
        """Another dispatcher may have been quicker."""
        turns = Turns()
        turns.add(["a"])
        assert turns.next() == "a"
        turns.done("a", ill=None, more=False)
        assert turns.next() is None

    def test_remember_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of receivers that are not being sent to."""
        monkeypatch.setattr(turns_module, "MOST_REMEMBERED", 10)
        turns = Turns()
        prove(turns, *(f"a{n}" for n in range(50)))
        assert len(turns._hosts) <= 11
