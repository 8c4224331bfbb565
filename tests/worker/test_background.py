import logging
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.machine import scaled
from worker import background
from worker.background import BackgroundTask


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + scaled(10)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alone(name: str) -> bool:
    """Whether no thread of that name runs."""
    return all(thread.name != name for thread in threading.enumerate())


class TestATask:
    def test_reports_a_success_once(self) -> None:
        """The result comes later, and is given to the first caller that asks for it."""
        task = BackgroundTask("yes", lambda: True)
        assert not task.take_success()
        task.start()
        wait_until(task.take_success)
        assert not task.take_success()

    def test_may_fail(self) -> None:
        """A failure is no success, and the next run may succeed."""
        results = [True, False]
        task = BackgroundTask("no", results.pop)
        task.start()
        wait_until(lambda: alone("no"))
        assert not task.take_success()
        task.start()
        wait_until(task.take_success)

    def test_keeps_the_last_result_alone(self) -> None:
        """A failure that nobody collected is not reported after a later success."""
        results = [True, False]
        task = BackgroundTask("changed", results.pop)
        for _ in range(2):
            task.start()
            wait_until(lambda: alone("changed"))
        assert not task.take_failure()
        assert task.take_success()
        task = BackgroundTask("no", lambda: False)
        task.start()
        wait_until(task.take_failure)
        assert not task.take_failure()

    def test_keeps_nobody_waiting(self) -> None:
        """start() returns at once; a second start changes nothing; the thread ends with the process."""
        result, threads = threading.Event(), []

        def run() -> bool:
            threads.append(threading.current_thread())
            return result.wait(scaled(10))

        task = BackgroundTask("slow", run)
        task.start()
        wait_until(lambda: bool(threads))
        task.start()
        assert not task.take_success()
        result.set()
        wait_until(task.take_success)
        assert [thread.daemon for thread in threads] == [True]

    def test_survives_an_unexpected_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, counts as a failure, and the task can be started again."""
        divisors = [1, 0]
        task = BackgroundTask("odd", lambda: bool(1 / divisors.pop()))
        with caplog.at_level(logging.ERROR):
            task.start()
            wait_until(lambda: alone("odd"))
        assert "ZeroDivisionError" in caplog.text
        assert not task.take_success()
        task.start()
        wait_until(task.take_success)

    def test_forgets_a_result_that_nobody_collects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A success that belongs to an earlier outage does not end the present one."""
        monkeypatch.setattr(background, "RESULT_KEPT_S", 0.0)
        task = BackgroundTask("late", lambda: True)
        task.start()
        wait_until(lambda: alone("late"))
        assert not task.take_success()
