import uuid
from datetime import UTC, datetime, timedelta

import pytest

from worker.dispatcher.heartbeat_monitor import HeartbeatMonitor

WORKER, OTHER = uuid.uuid4(), uuid.uuid4()
# Far from the present time: only changes may count.
BEAT = datetime(1999, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock) -> HeartbeatMonitor:
    """A monitor with a silence of 10 s."""
    return HeartbeatMonitor(10, clock)


def check(monitor: HeartbeatMonitor, clock: Clock, seconds: int, *workers: uuid.UUID) -> list[uuid.UUID]:
    """Check unchanged heartbeats once a second; returns the dead workers of the last check."""
    dead: list[uuid.UUID] = []
    for _ in range(seconds):
        clock.now += 1
        dead = monitor.dead(dict.fromkeys(workers, BEAT))
    return dead


class TestAHeartbeat:
    def test_that_does_not_change_is_given_the_whole_silence(
        self, monitor: HeartbeatMonitor, clock: Clock
    ) -> None:
        """The silence begins at the first check, not at the time in the heartbeat."""
        assert check(monitor, clock, 10, WORKER) == []
        assert check(monitor, clock, 1, WORKER) == [WORKER]

    def test_that_changed_is_given_the_silence_again(self, monitor: HeartbeatMonitor, clock: Clock) -> None:
        """One change is enough, whatever its time: a clock that was set back is no death."""
        check(monitor, clock, 9, WORKER)
        clock.now += 1
        assert monitor.dead({WORKER: BEAT - timedelta(days=1)}) == []
        assert check(monitor, clock, 10, WORKER) == []
        assert check(monitor, clock, 1, WORKER) == [WORKER]

    def test_stays_dead_until_it_changes(self, monitor: HeartbeatMonitor, clock: Clock) -> None:
        """A rescue that leaves jobs over may be repeated in the next tick."""
        check(monitor, clock, 11, WORKER)
        assert monitor.dead({WORKER: BEAT}) == [WORKER]
        assert monitor.dead({WORKER: BEAT + timedelta(seconds=1)}) == []

    def test_is_watched_by_itself(self, monitor: HeartbeatMonitor, clock: Clock) -> None:
        """The silence of a worker that came later begins then."""
        check(monitor, clock, 6, WORKER)
        assert check(monitor, clock, 5, WORKER, OTHER) == [WORKER]

    def test_is_forgotten_with_its_last_job(self, monitor: HeartbeatMonitor, clock: Clock) -> None:
        """A worker that held no job for a while is watched from the start."""
        check(monitor, clock, 6, WORKER)
        check(monitor, clock, 1)
        assert check(monitor, clock, 6, WORKER) == []


class TestAWorkerThatLeft:
    def test_is_dead_at_once(self, monitor: HeartbeatMonitor) -> None:
        """Its row says that it has left."""
        assert monitor.dead({WORKER: None, OTHER: BEAT}) == [WORKER]


class TestAMonitorThatPaused:
    @pytest.mark.parametrize(("pause", "dead"), [(5, [WORKER]), (6, [])])
    def test_starts_again_after_half_a_silence(
        self, monitor: HeartbeatMonitor, clock: Clock, pause: int, dead: list[uuid.UUID]
    ) -> None:
        """While it could not check, workers could not send heartbeats either: that time does not count."""
        check(monitor, clock, 9, WORKER)
        clock.now += pause
        assert monitor.dead({WORKER: BEAT}) == dead
