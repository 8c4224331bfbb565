"""Answers of the endpoint that are not understood: each is kept with its call."""

import logging
from collections.abc import Callable

import pytest

from cutout.endpoint.answer import MAX_RAW, Refused, read_answer
from cutout.enums import State
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox


class TestAnAnswerThatIsNotUnderstood:
    @pytest.mark.parametrize("fault", ["url_elsewhere", "long_url", "no_url"])
    def test_is_kept_with_its_call_and_shown_nowhere_else(
        self,
        make_bench: Callable[..., Bench],
        sandbox: Sandbox,
        photo: bytes,
        fault: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A person can fetch the result by the URL in it; the log and the message have no URL."""
        caplog.set_level(logging.DEBUG)
        bench = make_bench(retry_unknown=0)
        sandbox.fault(fault, next=1)
        job = bench.done(photo)
        (attempt,) = bench.attempts(job.id)
        assert (job.state, job.code) == (State.HELD, "ANSWER_NOT_UNDERSTOOD")
        raw = attempt.raw_answer or ""
        assert '"data"' in raw
        if fault != "no_url":
            assert f"{sandbox.url}/results/" in raw
        assert "/results/" not in caplog.text + (job.message or "") + repr(job.details)

    def test_is_bounded_and_is_text(self) -> None:
        """Invalid UTF-8, NUL and great length do not prevent that it is kept."""
        answer = read_answer(200, {}, b"\x00\xff" + b"x" * 10**6)
        assert isinstance(answer, Refused)
        assert answer.raw is not None
        assert answer.raw.startswith("\\x00\\xff")
        assert len(answer.raw) <= MAX_RAW
        assert "xxx" not in repr(answer)

    def test_of_a_call_that_was_refused_is_not_kept(self) -> None:
        """A refusal that is understood is not kept."""
        answer = read_answer(502, {}, b"bad gateway")
        assert isinstance(answer, Refused)
        assert answer.raw is None
