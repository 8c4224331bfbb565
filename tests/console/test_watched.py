"""Parts that open pages watch: made once for all who see the same, and not oftener than the process bears."""

import asyncio
import time
import uuid
from collections import Counter
from http import HTTPStatus

import httpx
import pytest

from console.faults import PageError
from console.live import Stream
from console.parts import Part
from console.viewer import Kind, Right, Viewer
from console.views import ScreenRequest
from console.watched import AWAY, BEAT_S, ENDED, MOST_LEFT, REFRESHES, SIGNALLED_S, Watched, WatchedParts
from tests.console.conftest import Site
from tests.support import event_loop
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS

OURS = {"Sec-Fetch-Site": "same-origin"}
A, B = uuid.UUID(int=1), uuid.UUID(int=2)


def wanted(path: str, producer_id: uuid.UUID | None) -> ScreenRequest:
    """A screen for an operator or a producer."""
    kind = Kind.PRODUCER if producer_id else Kind.OPERATOR
    viewer = Viewer(kind, producer_id, "", uuid.UUID(int=0), frozenset({Right.VIEW}))

    async def ask() -> None: ...

    return ScreenRequest("x", path, "", viewer, "", {}, ask)  # type: ignore[arg-type]


class Clock:
    """Ticks of the process, by a clock that tests move; counts what was made by its path."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made: Counter[str] = Counter()
        self.fault: Exception | None = None
        self.parts = WatchedParts(self.make, lambda: self.now)

    async def make(self, asked: ScreenRequest, name: str) -> Part:
        """A part that is always the same."""
        self.made[asked.path] += 1
        if self.fault:
            raise self.fault
        return Part(name, "text", "tag", str(self.now), "")

    def watch(self, path: str, producer_id: uuid.UUID | None) -> asyncio.Event:
        """Open a tab."""
        waker = asyncio.Event()
        self.parts.watch(wanted(path, producer_id), "live", waker)
        return waker

    async def run(self, seconds: float, *, signalled: bool = False) -> Counter[str]:
        """Counts of what was made meanwhile."""
        self.made = Counter()
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.parts.refresh_due(signalled=signalled)
            for _ in range(3):
                await asyncio.sleep(0)
        return self.made


def test_a_part_made_while_an_event_is_sent_is_sent_next() -> None:
    """Each event notes as sent exactly the part that it carried."""
    watched = Watched(wanted("/a", A), "live", part=Part("live", "first", "1", "", ""))
    stream = Stream(b"", A, sent={watched: None})
    events = stream.news()
    assert b"first" in next(events)
    watched.part = Part("live", "second", "2", "", "")
    assert list(events) == []
    assert [b"second" in event for event in stream.news()] == [True]


class TestTurns:
    def test_tabs_share_a_part(self) -> None:
        """It is made once for them at each beat, and no more once they are closed."""

        async def main(clock: Clock) -> None:
            wakers = [clock.watch("/a", A) for _ in range(20)]
            assert (await clock.run(10)) == {"/a": pytest.approx(10 / BEAT_S, abs=1)}
            assert all(waker.is_set() for waker in wakers)
            (watched,) = clock.parts._all.values()
            for waker in wakers:
                clock.parts.leave(watched, waker)
            assert not await clock.run(10)

        event_loop.run(main(Clock()))

    def test_many_parts_come_in_turn(self) -> None:
        """Their number makes them rarer, and each producer's come as often as the other's."""

        async def main(clock: Clock) -> None:
            for number in range(30):
                clock.watch(f"/a{number}", A)
            for number in range(3):
                clock.watch(f"/b{number}", B)
            await clock.run(1)
            made = await clock.run(300)
            assert made.total() <= 300 * REFRESHES + MOST_LEFT
            ours = sum(count for path, count in made.items() if path.startswith("/a"))
            assert ours / made.total() == pytest.approx(0.5, abs=0.1)
            assert len(made) == 33

        event_loop.run(main(Clock()))

    def test_signals_are_of_operators(self) -> None:
        """Theirs come sooner while others work, and a producer's at the same times as otherwise."""

        async def main(clock: Clock) -> None:
            clock.watch("/operators", None)
            still, busy = await clock.run(100), await clock.run(100, signalled=True)
            assert still.total() == pytest.approx(100 / BEAT_S, abs=1)
            assert busy.total() == pytest.approx(100 / SIGNALLED_S, abs=1)
            for number in range(4):
                clock.watch(f"/own{number}", A)
            await clock.run(20)
            still, busy = await clock.run(100), await clock.run(100, signalled=True)
            for number in range(4):
                assert still[f"/own{number}"] == pytest.approx(100 * REFRESHES / 2 / 4, abs=1)
                assert busy[f"/own{number}"] == pytest.approx(100 * REFRESHES / 2 / 4, abs=1)

        event_loop.run(main(Clock()))

    def test_a_fault_is_told_and_ends(self) -> None:
        """Postgres comes back, and a page whose batch was deleted loads anew."""

        async def main(clock: Clock) -> None:
            clock.watch("/a", A)
            (watched,) = clock.parts._all.values()
            for fault, told in (
                (PageError(HTTPStatus.SERVICE_UNAVAILABLE, "away"), AWAY),
                (RuntimeError("unexpected"), AWAY),
                (PageError(HTTPStatus.NOT_FOUND, "deleted"), ENDED),
            ):
                clock.fault = fault
                await clock.run(5)
                assert watched.news(None) == told
            clock.fault = None
            await clock.run(5)
            assert b'"html": "text"' in watched.news(None)
            seen = watched.part
            assert watched.news(seen) == b""
            await clock.run(5)
            assert b'"html"' not in watched.news(seen)

        event_loop.run(main(Clock()))


def test_a_stream_brings_the_parts_of_its_page(site: Site) -> None:
    """At once as they are, then what changed; the session is noted as seen meanwhile."""
    batch_id = site.make_batch("spring", ["SKU-1"])
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        site.execute("UPDATE sessions SET seen_at = now() - interval '2 minutes'")
        asked = {"page": f"/console/batches/{batch_id}?state=failed", "part": "live"}
        with client.stream("GET", "/console/events", params=asked) as stream:
            assert stream.status_code == 200
            events = stream.iter_text()
            assert "0 of 1" in next(events)
            site.execute("UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()")
            gives_up_at = time.monotonic() + scaled(30)
            while "1 of 1" not in next(events):
                assert time.monotonic() < gives_up_at
        assert site.scalar("SELECT seen_at > now() - interval '1 minute' FROM sessions")


@pytest.mark.parametrize("page", ["", "/v1/jobs", "/console/events", "/console/nothing", "//console"])
def test_a_stream_is_of_a_screen(site: Site, page: str) -> None:
    """Another address has none, and a page without a stream looks by itself."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        assert client.get("/console/events", params={"page": page, "part": "live"}).status_code == 404


def test_a_stream_shows_what_its_page_would(site: Site) -> None:
    """Another producer's batch and operators' screens end it at once."""
    other, _ = site.make_key("other")
    batch_id = site.make_batch("theirs", ["SKU-1"], producer_id=other)
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        for page in (f"/console/batches/{batch_id}", "/console/limit", "/console/system"):
            with client.stream("GET", "/console/events", params={"page": page, "part": "live"}) as stream:
                assert next(stream.iter_bytes()) == ENDED, page
