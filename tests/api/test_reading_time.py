"""Reading one producer's bodies takes a quarter of the time, whatever they are made of."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from http import HTTPStatus

import httpx
import pytest
from anyio import CapacityLimiter
from sqlalchemy import Engine

from api.bodies.json_bounds import JsonBounds
from api.bodies.reading_time import ReadingTime
from api.limits.producer_threads import Threads
from api.problems import ProblemError
from api.services import Services
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import SOURCE
from tests.api.test_large_bodies import GARBAGE, JSON, MOST_JOBS, a_list
from tests.api.test_shares import FORM
from tests.api.test_unread_bodies import asked
from tests.support import event_loop
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS

WAITS_S = 0.4
ONE, OTHER = uuid.uuid4(), uuid.uuid4()
BODIES = {
    "a job": ("/v1/jobs", "application/json", b'{"source_url": "https://shop.example/a.jpg"}'),
    "a list": ("/v1/batches", "application/json", b'{"name": "b"' + b" " * 100_000 + b"}"),
    "garbage": ("/v1/batches", "application/json", b"[" * 100),
    "a picture": ("/v1/jobs", "multipart/form-data; boundary=x", FORM + b"\r\n--x--\r\n"),
    "a manifest": ("/v1/batches?name=b", "text/csv", b"external_id,source\n" + b" " * 100_000),
    "a schedule": ("/v1/schedules", "application/json", b"{}"),
}


def owing(reading: ReadingTime, of: uuid.UUID, seconds: float) -> None:
    """Make the producer wait so long, now."""
    reading.spend(of, reading._account(of).left + seconds * reading.share)


def spin(seconds: float) -> None:
    """Use the processor for so long."""
    ends_at = time.thread_time() + seconds
    while time.thread_time() < ends_at:
        pass


def taken(*works: Callable[[ReadingTime], Awaitable[None]]) -> float:
    """Seconds until all of these are done, side by side."""

    async def measured() -> float:
        reading = ReadingTime()
        began = time.monotonic()
        await asyncio.gather(*(work(reading) for work in works))
        return time.monotonic() - began

    return event_loop.run(measured())


class TestReadingTime:
    def test_of_little_work_is_not_waited_for(self) -> None:
        """Small bodies, however many there are in a second."""

        async def small(reading: ReadingTime) -> None:
            for _ in range(200):
                reading.spend(ONE, 0.00005)
                await reading.turn(ONE)

        assert taken(small) < scaled(0.2)

    def test_is_half_at_first(self) -> None:
        """Others have their turn as long as a producer's work took."""

        async def work(reading: ReadingTime) -> None:
            for _ in range(20):
                reading.measured(ONE, spin, 0.005)
                await reading.turn(ONE)

        assert taken(work) >= 0.2

    def test_is_a_quarter_in_the_long_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many bodies a producer sends at once; another does not wait for them."""
        monkeypatch.setattr(ReadingTime, "burst_s", 0.01)
        other = 0.0

        async def work(reading: ReadingTime) -> None:
            for _ in range(10):
                reading.measured(ONE, spin, 0.005)
                await reading.turn(ONE)

        async def another(reading: ReadingTime) -> None:
            nonlocal other
            began = time.monotonic()
            await reading.turn(OTHER)
            other = time.monotonic() - began

        assert taken(work, work, another) >= (0.1 - 0.01) / ReadingTime.share
        assert other < scaled(0.1)

    def test_counts_threads_and_failures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A thread's time for a body counts for its producer, also where it ends with an error."""
        # Nothing comes back meanwhile.
        monkeypatch.setattr(ReadingTime, "share", 1e-6)

        def fail() -> None:
            spin(0.02)
            raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", "wrong")

        async def work(reading: ReadingTime) -> None:
            before = reading._account(ONE).left
            threads = Threads("test", CapacityLimiter(1), 1)
            for _ in range(2):
                with pytest.raises(ProblemError):
                    await reading.measured_in(threads, ONE, fail)
                with pytest.raises(ProblemError):
                    reading.measured(ONE, fail)
            assert before - reading._account(ONE).left >= 0.079

        taken(work)

    def test_forgets_the_producer_longest_unused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Memory stays bounded."""
        monkeypatch.setattr("api.bodies.reading_time.MOST_PRODUCERS", 10)
        reading = ReadingTime()
        for _ in range(20):
            reading.spend(uuid.uuid4(), 1)
        assert len(reading._accounts) == 10


class TestAProducerThatTookItsShare:
    @pytest.fixture
    def other(self, client: httpx.Client, engine: Engine) -> Iterator[httpx.Client]:
        """A second producer's client of the same process."""
        headers = key_for(engine, "other")
        with httpx.Client(base_url=client.base_url, headers=headers, timeout=20, verify=NO_TLS) as other:
            yield other

    @pytest.mark.parametrize("kind", BODIES)
    def test_waits_with_any_body_and_nobody_else_does(
        self, shop: httpx.Client, other: httpx.Client, engine: Engine, services_of: Services, kind: str
    ) -> None:
        """Its body is read once it is its turn; it may look meanwhile."""
        path, media_type, body = BODIES[kind]
        producer_id, reading = producer_of(engine), services_of.reading_time
        lines = (f"Content-Type: {media_type}", f"Content-Length: {len(body)}", "Connection: close")
        began = time.monotonic()
        owing(reading, producer_id, WAITS_S)
        with asked(shop, path, *lines, start=body) as connection:
            assert other.post("/v1/jobs", json={"source_url": SOURCE}).status_code == 201
            assert shop.get("/v1/jobs").status_code == 200
            others_took = time.monotonic() - began
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
            assert time.monotonic() - began >= WAITS_S
        assert others_took < scaled(WAITS_S)

    @pytest.mark.parametrize("kind", ["depth and width", "quotes", "blanks", "each job at fault"])
    def test_has_paid_for_garbage(
        self, shop: httpx.Client, services_of: Services, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """As much as counting it takes, at least."""
        body, reading = GARBAGE[kind](), services_of.reading_time
        bounds, counted = JsonBounds(services_of.settings.max_batch_jobs), time.thread_time()
        with suppress(ProblemError):
            bounds.feed(body)
        counted = time.thread_time() - counted
        spent: list[float] = []
        spend = reading.spend

        def noted(of: uuid.UUID, seconds: float) -> None:
            spent.append(seconds)
            spend(of, seconds)

        monkeypatch.setattr(reading, "spend", noted)
        shop.post("/v1/batches", content=body, headers=JSON)
        assert sum(spent) >= counted / 3


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/v1/batches", "application/json"),
        ("/v1/batches?name=b", "application/json"),
        ("/v1/batches?map=x", "text/csv"),
        ("/v1/jobs", "multipart/form-data; boundary=x"),
        ("/v1/batches", "application/zip"),
    ],
)
def test_large_bodies_that_are_refused_have_a_rate(
    shop: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str, media_type: str
) -> None:
    """However early it is, and on however many connections."""
    monkeypatch.setattr("api.bodies.reading_time.S_A_REFUSAL", 0.05)
    monkeypatch.setattr(ReadingTime, "burst_s", 0.01)
    lines = (f"Content-Type: {media_type}", "Content-Length: 900000")
    refusals, began = 5, time.monotonic()
    for _ in range(refusals):
        with asked(shop, path, *lines, start=b"[" * 100) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 4")
    assert time.monotonic() - began >= ((refusals - 1) * 0.05 - 0.01) / ReadingTime.share


def test_a_manifest_is_paid_for_by_its_bytes(
    shop: httpx.Client, engine: Engine, services_of: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent faster than a producer's share, it waits for the rest of its time."""
    monkeypatch.setattr("api.bodies.reading_time.S_A_BYTE", 1e-7)
    monkeypatch.setattr(ReadingTime, "burst_s", 0.01)
    services_of.reading_time.spend(producer_of(engine), 0)
    began = time.monotonic()
    body = b"external_id,source\n" + b"a" * 1_000_000
    headers = {"Content-Type": "text/csv"}
    assert shop.post("/v1/batches?name=b", content=body, headers=headers).status_code == 202
    # The last piece is there before it is paid for.
    assert time.monotonic() - began >= (0.1 - 0.04) / ReadingTime.share


def test_lists_one_after_the_other_hardly_wait() -> None:
    """BatchCache a list of ten thousand takes a small part of what a producer may take at once."""
    bounds, body = JsonBounds(MOST_JOBS), a_list(MOST_JOBS)
    began = time.thread_time()
    for start in range(0, len(body), 16_384):
        bounds.feed(body[start : start + 16_384])
    assert time.thread_time() - began < scaled(0.1)
