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


class TestAQuestion:
    def test_is_answered_yes_once(self) -> None:
        """The answer comes later, and is said to the first who looks for it."""
        question = BackgroundTask("yes", lambda: True)
        assert not question.take_success()
        question.start()
        wait_until(question.take_success)
        assert not question.take_success()

    def test_may_be_answered_no(self) -> None:
        """No is no, and the next question may be answered yes."""
        answers = [True, False]
        question = BackgroundTask("no", answers.pop)
        question.start()
        wait_until(lambda: alone("no"))
        assert not question.take_success()
        question.start()
        wait_until(question.take_success)

    def test_has_one_answer_at_a_time(self) -> None:
        """A no that nobody looked for is not said after a later yes."""
        answers = [True, False]
        question = BackgroundTask("changed", answers.pop)
        for _ in range(2):
            question.start()
            wait_until(lambda: alone("changed"))
        assert not question.answered_no()
        assert question.take_success()
        question = BackgroundTask("no", lambda: False)
        question.start()
        wait_until(question.answered_no)
        assert not question.answered_no()

    def test_keeps_nobody_waiting(self) -> None:
        """Starting returns at once; asked again meanwhile, it is not asked twice; its thread ends with us."""
        answer, asked = threading.Event(), []

        def start() -> bool:
            asked.append(threading.current_thread())
            return answer.wait(scaled(10))

        question = BackgroundTask("slow", start)
        question.start()
        wait_until(lambda: bool(asked))
        question.start()
        assert not question.take_success()
        answer.set()
        wait_until(question.take_success)
        assert [thread.daemon for thread in asked] == [True]

    def test_survives_an_error_that_nobody_expected(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, counts as no, and the question can be asked again."""
        divisors = [1, 0]
        question = BackgroundTask("odd", lambda: bool(1 / divisors.pop()))
        with caplog.at_level(logging.ERROR):
            question.start()
            wait_until(lambda: alone("odd"))
        assert "ZeroDivisionError" in caplog.text
        assert not question.take_success()
        question.start()
        wait_until(question.take_success)

    def test_is_forgotten_when_nobody_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A yes that was for an older trouble does not end the present one."""
        monkeypatch.setattr(background, "ANSWER_KEPT_S", 0.0)
        question = BackgroundTask("late", lambda: True)
        question.start()
        wait_until(lambda: alone("late"))
        assert not question.take_success()
