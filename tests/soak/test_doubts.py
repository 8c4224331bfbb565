"""Each cause that a doubt may have, and what is none."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from cutout.enums import AttemptOutcome
from tests.soak.doubts import Call, Cause, Doubts, find_doubts, match_calls
from tests.soak.plan import FREEZE_S, SILENCE_S, Kind, Mischief
from tests.soak.struck import Struck
from tests.soak.times import CALL_DEADLINE_S

BEGUN_AT = 1_000_000.0
PID = 77
PICTURE = b"p" * 32
WORKER = uuid.uuid4()
EARLIER_WORKER = uuid.uuid4()


def at(seconds: float) -> datetime:
    """So long after the call was begun."""
    return datetime.fromtimestamp(BEGUN_AT + seconds, UTC)


def attempt(doubted_s: float | None, **changed: object) -> SimpleNamespace:
    """A call that was begun at 0."""
    row = SimpleNamespace(
        id=1,
        job_id=uuid.uuid4(),
        worker_id=WORKER,
        image_sha256=PICTURE,
        outcome=AttemptOutcome.UNKNOWN,
        code="NO_ANSWER",
        request_id=None,
        begun_at=at(0),
        ended_at=at(1 if doubted_s is None else doubted_s),
        unknown_at=None if doubted_s is None else at(doubted_s),
    )
    vars(row).update(changed)
    return row


def came(answered_s: float | None = None, fault: str | None = None, after_s: float = 0.1) -> Call:
    """It came to the sandbox, was charged, and was answered then."""
    answered_at = None if answered_s is None else BEGUN_AT + answered_s
    return Call(BEGUN_AT + after_s, PICTURE.hex(), "request", fault, answered_at=answered_at)


def strike(kind: Kind, after_s: float, seconds: float = 0.0, pid: int = PID) -> Struck:
    """The fate of the worker or of a server."""
    return Struck(after_s, kind, "it", BEGUN_AT + after_s, BEGUN_AT + after_s + seconds, pid)


def find(attempts: list[SimpleNamespace], calls: list[Call], struck: list[Struck]) -> Doubts:
    """Processes found, with two workers that had the same pid one after the other."""
    workers = [
        SimpleNamespace(id=EARLIER_WORKER, pid=PID, started_at=at(-900)),
        SimpleNamespace(id=WORKER, pid=PID, started_at=at(-60)),
    ]
    return find_doubts(attempts, workers, match_calls(attempts, calls)[0], struck)


def cause(doubted_s: float, call: Call | None, *struck: Struck) -> str | None:
    """The only doubt's."""
    found = find([attempt(doubted_s)], [call] if call else [], list(struck))
    assert found.total == 1
    assert len(found.needless) == 1 - sum(found.causes.values())
    return next(iter(found.causes), None)


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            (Mischief.DROP_AFTER, Cause.WITHHELD),
            (Mischief.DROP_MIDWAY, Cause.WITHHELD),
            (Mischief.HANG_AFTER, Cause.WITHHELD),
            (Mischief.GATEWAY_AFTER, Cause.WITHHELD),
            (Mischief.RESULT_GONE, None),
            (None, None),
        ],
    )
    def test_may_have_been_withheld_of_this_very_call(self, fault: str | None, expected: str | None) -> None:
        """The sandbox says so; other faults withhold nothing."""
        assert cause(1.0, came(0.9, fault)) == expected

    @pytest.mark.parametrize(
        ("doubted_s", "answered_s", "expected"),
        [
            (CALL_DEADLINE_S, None, Cause.TOO_LATE),
            (CALL_DEADLINE_S, CALL_DEADLINE_S + 9, Cause.TOO_LATE),
            (CALL_DEADLINE_S, 2.0, None),
            (2.0, None, None),
            (2.0, CALL_DEADLINE_S, None),
        ],
    )
    def test_may_have_come_too_late(
        self, doubted_s: float, answered_s: float | None, expected: str | None
    ) -> None:
        """Whoever did not wait for the whole deadline has no excuse."""
        assert cause(doubted_s, came(answered_s)) == expected


class TestAKill:
    @pytest.mark.parametrize(
        ("answered_s", "expected"),
        [(None, Cause.KILLED), (9.5, Cause.KILLED), (11.0, Cause.KILLED), (2.0, None)],
    )
    def test_may_have_met_the_call(self, answered_s: float | None, expected: str | None) -> None:
        """Not one whose answer had come long before: it could have been written down."""
        assert cause(15.0, came(answered_s), strike(Kind.WORKER_KILLED, 10.0)) == expected

    def test_of_another_worker_excuses_nothing(self) -> None:
        """Nor does one of a worker that had the same pid before."""
        of_another = strike(Kind.WORKER_KILLED, 0.5, pid=PID + 1)
        of_an_earlier_one = strike(Kind.WORKER_KILLED, -500.0)
        assert cause(6.0, came(), of_another, of_an_earlier_one) is None

    def test_after_the_doubt_excuses_nothing(self) -> None:
        """Whoever doubted did so of itself."""
        assert cause(1.0, came(), strike(Kind.WORKER_KILLED, 5.0)) is None

    def test_before_the_call_excuses_nothing(self) -> None:
        """A dead worker begins none."""
        assert cause(6.0, came(), strike(Kind.WORKER_KILLED, -1.0)) is None

    @pytest.mark.parametrize("kind", [Kind.WORKER_REPLACED, Kind.API_KILLED, Kind.WORKER_WITHOUT_BUCKET])
    def test_is_not_what_leaves_a_worker_its_time(self, kind: Kind) -> None:
        """One that is told to end waits for its calls."""
        assert cause(6.0, came(), strike(kind, 0.5)) is None


class TestASilentWorker:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [(Kind.WORKER_FROZEN, Cause.FROZEN), (Kind.WORKER_WITHOUT_POSTGRES, Cause.CUT_OFF)],
    )
    @pytest.mark.parametrize(
        ("doubted_s", "is_silent"), [(SILENCE_S + 0.5, True), (1.5, False), (15.0, False)]
    )
    def test_may_be_judged_dead(
        self, kind: Kind, expected: str, doubted_s: float, *, is_silent: bool
    ) -> None:
        """In its silence, neither before it was long enough nor after its end."""
        assert cause(doubted_s, came(), strike(kind, 0.5, FREEZE_S)) == (expected if is_silent else None)

    @pytest.mark.parametrize(
        ("kind", "expected"), [(Kind.WORKER_FROZEN, Cause.FROZEN), (Kind.WORKER_WITHOUT_POSTGRES, None)]
    )
    def test_tells_what_it_has_if_it_runs(self, kind: Kind, expected: str | None) -> None:
        """Cut off from Postgres, it has a disk from which others tell it; a frozen one has nothing."""
        assert cause(FREEZE_S, came(answered_s=0.7), strike(kind, 0.5, FREEZE_S)) == expected


class TestACallThatNeverCame:
    def test_has_no_excuse_without_a_strike(self) -> None:
        """Its worker knows that it sent nothing."""
        assert cause(1.0, None) is None

    @pytest.mark.parametrize(
        "kind",
        [Kind.WORKER_KILLED, Kind.WORKER_FROZEN, Kind.WORKER_WITHOUT_POSTGRES, Kind.WORKER_REPLACED],
    )
    def test_may_have_waited_for_its_turn(self, kind: Kind) -> None:
        """Between the intent and the first byte."""
        assert cause(6.0, None, strike(kind, 0.1, FREEZE_S)) == Cause.NOT_SENT

    def test_does_not_wait_for_long(self) -> None:
        """A minute is no turn."""
        assert cause(66.0, None, strike(Kind.WORKER_KILLED, 60.0)) is None

    def test_may_not_be_withdrawn_while_postgres_is_away(self) -> None:
        """The outage is added to the time that a turn takes."""
        outage = strike(Kind.POSTGRES_KILLED, 0.0, 8.0)
        assert cause(20.0, None, outage, strike(Kind.WORKER_KILLED, 10.0)) == Cause.NOT_SENT

    def test_is_not_mistaken_for_the_next_one_of_its_picture(self) -> None:
        """The call that came was that of the second attempt, whose answer was withheld."""
        second = attempt(11.0, id=2, begun_at=at(10.0), ended_at=at(11.0))
        found = find([attempt(6.0), second], [came(after_s=10.1, fault=Mischief.DROP_AFTER)], [])
        assert (found.causes, len(found.needless)) == ({Cause.WITHHELD: 1}, 1)
        assert "attempt 1 of" in found.needless[0]
        assert "never came" in found.needless[0]


class TestACallOfNobody:
    def test_is_named(self) -> None:
        """It was made without a line in the ledger before it."""
        told = attempt(None, outcome=AttemptOutcome.CHARGED, request_id="request")
        another = replace(came(0.9, after_s=0.5), request_id="another")
        assert match_calls([told], [came(0.9), another]) == ({1: came(0.9)}, [another])

    def test_is_one_that_was_charged_and_is_called_free(self) -> None:
        """The ledger's own line does not go with it."""
        told = attempt(None, outcome=AttemptOutcome.NOT_CHARGED, request_id="other")
        assert match_calls([told], [came(0.9)]) == ({}, [came(0.9)])

    def test_is_not_one_that_broke_off_on_its_way(self) -> None:
        """The sandbox does not know of which picture it was."""
        assert match_calls([], [replace(came(), image_sha256="", request_id=None)]) == ({}, [])


class TestCallsOut:
    @pytest.mark.parametrize(
        ("struck_s", "answered_s", "met"), [(0.5, 0.9, 1), (0.5, None, 1), (0.95, 0.9, 0), (3.0, None, 0)]
    )
    def test_are_those_that_came_and_had_no_answer(
        self, struck_s: float, answered_s: float | None, met: int
    ) -> None:
        """At the moment of the strike."""
        told = attempt(None, outcome=AttemptOutcome.CHARGED, request_id="request")
        found = find([told], [came(answered_s)], [strike(Kind.WORKER_KILLED, struck_s)])
        assert (found.strikes_on_workers, found.strikes_met_calls, found.out_at_strikes) == (1, met, met)
