import uuid
from datetime import UTC, datetime, timedelta

import pytest

from worker.dispatcher.heartbeat_monitor import HeartWatch

WORKER, OTHER = uuid.uuid4(), uuid.uuid4()
# Far from any clock of ours: only whether it changes may count.
BEAT = datetime(1999, 1, 1, tzinfo=UTC)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> HeartWatch:
    """One that looks for a silence of 10 s."""
    return HeartWatch(10, clock)


def look(watch: HeartWatch, clock: Clock, seconds: int, *workers: uuid.UUID) -> list[uuid.UUID]:
    """Look each second, at hearts that stand still; what the last look found."""
    gone: list[uuid.UUID] = []
    for _ in range(seconds):
        clock.now += 1
        gone = watch.gone(dict.fromkeys(workers, BEAT))
    return gone


class TestAHeart:
    def test_that_stands_still_is_given_the_whole_silence(self, watch: HeartWatch, clock: Clock) -> None:
        """The silence is counted from the first look, not from the time in the heartbeat."""
        assert look(watch, clock, 10, WORKER) == []
        assert look(watch, clock, 1, WORKER) == [WORKER]

    def test_that_moved_is_given_the_silence_anew(self, watch: HeartWatch, clock: Clock) -> None:
        """One beat is enough, whatever time it names: a clock that was set back is no death."""
        look(watch, clock, 9, WORKER)
        clock.now += 1
        assert watch.gone({WORKER: BEAT - timedelta(days=1)}) == []
        assert look(watch, clock, 10, WORKER) == []
        assert look(watch, clock, 1, WORKER) == [WORKER]

    def test_stays_gone_until_it_moves(self, watch: HeartWatch, clock: Clock) -> None:
        """Whoever has more to rescue than one look can take may look again."""
        look(watch, clock, 11, WORKER)
        assert watch.gone({WORKER: BEAT}) == [WORKER]
        assert watch.gone({WORKER: BEAT + timedelta(seconds=1)}) == []

    def test_is_watched_for_itself(self, watch: HeartWatch, clock: Clock) -> None:
        """A worker that came later has its silence counted from then."""
        look(watch, clock, 6, WORKER)
        assert look(watch, clock, 5, WORKER, OTHER) == [WORKER]

    def test_is_forgotten_with_its_last_job(self, watch: HeartWatch, clock: Clock) -> None:
        """A worker that held no job for a while is watched anew."""
        look(watch, clock, 6, WORKER)
        look(watch, clock, 1)
        assert look(watch, clock, 6, WORKER) == []


class TestAWorkerThatLeft:
    def test_is_gone_at_once(self, watch: HeartWatch) -> None:
        """It said so itself."""
        assert watch.gone({WORKER: None, OTHER: BEAT}) == [WORKER]


class TestAWatchThatPaused:
    @pytest.mark.parametrize(("pause", "gone"), [(5, [WORKER]), (6, [])])
    def test_begins_anew_after_half_a_silence(
        self, watch: HeartWatch, clock: Clock, pause: int, gone: list[uuid.UUID]
    ) -> None:
        """While nobody could look, nobody could beat either: that time counts for nothing."""
        look(watch, clock, 9, WORKER)
        clock.now += pause
        assert watch.gone({WORKER: BEAT}) == gone
