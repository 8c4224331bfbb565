"""Slow source servers, and servers with pictures of several producers."""

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cutout.enums import State
from cutout.network import Timeouts
from cutout.queue.attempts.outcomes import Snooze
from tests.support.bench import Bench
from tests.support.machine import scaled
from tests.worker.wire import Behaviour, dribbling, serving, silent, stopping_after
from worker.pipeline import sources
from worker.pipeline.sources import HostTurns, SourceError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize("behaviour", [silent, stopping_after(HEAD), dribbling(b""), dribbling(HEAD)])
def test_a_server_is_not_waited_for_longer_than_it_may(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    """A server that is silent, stops half way or is too slow costs the job a try, and no call is made."""
    assert (sources.TIMEOUTS.read, sources.TIMEOUTS.total) == (10.0, 60.0)
    monkeypatch.setattr(sources, "TIMEOUTS", Timeouts(read=0.3, total=0.6))
    monkeypatch.setattr(sources, "DEADLINE_S", 0.6)
    bench = make_bench(source_private_hosts=("127.0.0.1",))
    with serving(behaviour) as url:
        job_id = bench.enqueue(f"{url}/a.jpg")
        began = time.monotonic()
        bench.work()
        took = time.monotonic() - began
    job = bench.job(job_id)
    assert (job.state, job.code, job.tries) == (State.QUEUED, "SOURCE_UNAVAILABLE", 1)
    assert bench.attempts(job_id) == []
    assert took < scaled(1.5)


class TestARequestToAHost:
    def test_is_refused_beyond_the_bound(self) -> None:
        """The job comes back soon."""
        turns = HostTurns(2)
        owner = uuid.uuid4()
        with turns.turn("a", owner), turns.turn("a", owner):
            with pytest.raises(SourceError) as refused, turns.turn("a", owner):
                pass
            with turns.turn("b", owner):
                pass
        assert isinstance(refused.value.outcome, Snooze)
        assert refused.value.outcome.code == "SOURCE_BUSY"
        with turns.turn("a", owner):
            pass

    def test_is_there_for_a_producer_that_has_none(self) -> None:
        """A producer that fills a host does not keep others from it."""
        turns = HostTurns(2)
        a, b = uuid.uuid4(), uuid.uuid4()
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(turns.turn("cdn", a))
            for owner in (b, None):
                stack.enter_context(turns.turn("cdn", owner))
                with pytest.raises(SourceError), turns.turn("cdn", owner):
                    pass
        assert turns._hosts == {}
