"""One producer takes a quarter of what a process has, whatever it sends and however slowly."""

import asyncio
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from inspect import isasyncgenfunction, iscoroutinefunction
from urllib.parse import urlsplit

import httpx
import pytest
from anyio import to_thread
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api.app import ROUTES, create_app
from api.dependencies import turn
from api.limits.producer_slots import share_of
from api.limits.producer_threads import Threads
from api.problems import ProblemError
from api.services import Services
from cutout.models import Producer
from cutout.producers.producers import set_quota
from cutout.settings import Settings
from tests.api.conftest import key_for, producer_of, serve_app
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import make_batch
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.proxy import Mode, Proxy
from tests.support.slow_http import half_sent, statuses
from tests.support.system import wait_until

# More than there are threads, or places for uploads.
MANY = 45
QUICKLY_S = 1.0
FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + b"x" * 2000
UPLOADS = {
    "csv": ("/v1/batches?name=b", "text/csv", b"external_id,source\n"),
    "gzip": ("/v1/batches?name=b", "application/gzip", b"\x1f\x8b\x08\x00"),
    "zip": ("/v1/batches?name=b", "application/zip", b"PK\x03\x04"),
    "picture": ("/v1/jobs", "multipart/form-data; boundary=x", FORM),
    "list": ("/v1/batches", "application/json", b'{"name": "b", "jobs": ['),
}


@pytest.fixture
def other(client: httpx.Client, engine: Engine) -> Iterator[httpx.Client]:
    """A second producer's client of the same process."""
    headers = key_for(engine, "other")
    with httpx.Client(base_url=client.base_url, headers=headers, timeout=scaled(10), verify=NO_TLS) as other:
        yield other


def is_served(other: httpx.Client) -> None:
    """Each kind of route answers another producer quickly, and the process is ready."""
    began = time.monotonic()
    batch = other.post("/v1/batches", json={"name": "b"})
    assert batch.status_code == 201
    path = f"/v1/batches/{batch.json()['id']}"
    job = other.post("/v1/jobs", json={"source_url": SOURCE})
    assert job.status_code == 201
    for asked in (
        f"/v1/jobs/{job.json()['id']}",
        f"/v1/jobs/{job.json()['id']}/explanation",
        path,
        "/v1/jobs",
    ):
        assert other.get(asked).status_code == 200
    assert other.get(f"{path}/results").status_code == 200
    assert other.post(f"{path}/pause").status_code == 200
    assert other.post(f"{path}/cancel").status_code == 202
    assert other.get("/v1/schedules").status_code == 200
    assert other.get("/readyz").status_code == 200
    assert time.monotonic() - began < scaled(QUICKLY_S)


class TestSlowUploads:
    @pytest.mark.parametrize("length", ["Content-Length: 900000", "Transfer-Encoding: chunked"])
    @pytest.mark.parametrize("kind", UPLOADS)
    def test_hold_up_nobody_else(
        self, shop: httpx.Client, other: httpx.Client, services_of: Services, kind: str, length: str
    ) -> None:
        """Past the producer's share they are refused at once, before their body; others are served."""
        path, media_type, start = UPLOADS[kind]
        if "chunked" in length:
            start = f"{len(start):x}\r\n".encode() + start + b"\r\n"
        share = share_of(services_of.uploads.most)
        with half_sent(shop, MANY, path, f"Content-Type: {media_type}", length, start=start) as asked:
            assert statuses(asked, MANY - share) == [429] * (MANY - share)
            assert len(services_of.uploads) == share
            refused = shop.post(path, content=b"x" * 100_000, headers={"Content-Type": media_type})
            assert problem_of(refused, 429)["type"].endswith("too-many-at-once")
            assert int(refused.headers["retry-after"]) >= 1
            is_served(other)
        wait_until(lambda: len(services_of.uploads) == 0, "all places are free again")

    def test_of_little_have_places_of_their_own(
        self, shop: httpx.Client, other: httpx.Client, services_of: Services
    ) -> None:
        """Small bodies that do not end take no thread and no place of an upload."""
        lines = ("Content-Type: application/json", "Content-Length: 1000")
        share = share_of(services_of.small_bodies.most)
        with half_sent(shop, share + 5, "/v1/jobs", *lines, start=b"{") as asked:
            assert statuses(asked, 5) == [429] * 5
            is_served(other)

    def test_of_all_together_are_bounded(
        self, shop: httpx.Client, services_of: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When every place is taken the next is told to come again."""
        monkeypatch.setattr(services_of.uploads, "most", 0)
        refused = shop.post(
            "/v1/batches?name=b", content=b"x" * 100_000, headers={"Content-Type": "text/csv"}
        )
        assert problem_of(refused, 503)["type"].endswith("busy")
        assert int(refused.headers["retry-after"]) >= 1


class TestSlowServers:
    @pytest.mark.usefixtures("bucket")
    def test_a_bucket_that_hangs_holds_up_no_other_request(self, settings: Settings, engine: Engine) -> None:
        """Pictures that cannot be stored wait on threads of their own."""
        assert settings.s3_endpoint_url is not None
        with Proxy(urlsplit(settings.s3_endpoint_url).port or 80) as proxy:
            app = create_app(settings.model_copy(update={"s3_endpoint_url": proxy.url}))
            with serve_app(app) as shop:
                shop.headers.update(key_for(engine, "shop"))
                headers = key_for(engine, "other")
                proxy.set(Mode.STALL)
                body = FORM + b"\r\n--x--\r\n"
                lines = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
                with half_sent(shop, MANY, "/v1/jobs", *lines, start=body):
                    threads = app.state.services.upload_threads
                    wait_until(lambda: threads.limiter.borrowed_tokens == threads.share, "they hang")
                    began = time.monotonic()
                    for _ in range(3):
                        answer = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers)
                        assert answer.status_code == 201
                    assert time.monotonic() - began < scaled(QUICKLY_S)
                    proxy.set(Mode.PASS)

    def test_rows_of_one_producer_that_are_locked_hold_up_no_other(
        self, shop: httpx.Client, other: httpx.Client, engine: Engine, services_of: Services
    ) -> None:
        """Its requests wait on a quarter of the threads and connections, and the process stays ready."""
        producer_id = producer_of(engine)
        with Session(engine) as session, session.begin():
            set_quota(session, producer_id, 1000)
        with Session(engine) as session, session.begin():
            session.get(Producer, producer_id, with_for_update=True)
            body = b'{"source_url": "https://shop.example/a.jpg"}'
            lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
            with half_sent(shop, MANY, "/v1/jobs", *lines, start=body):
                threads = services_of.threads
                wait_until(lambda: threads.limiter.borrowed_tokens == threads.share, "they hang")
                is_served(other)


class TestStreams:
    @pytest.mark.long("fills each pool; the test of turns has the rule")
    def test_of_one_producer_are_a_quarter(
        self, shop: httpx.Client, other: httpx.Client, engine: Engine, services_of: Services
    ) -> None:
        """Opened all at once they are exactly its share; another's stream opens all the same."""
        path = f"/v1/batches/{make_batch(engine, {'a': None}, producer_id=producer_of(engine))}/events"
        share = share_of(services_of.events.places.most)
        with half_sent(shop, share + 5, path, method="GET") as asked:
            found = statuses(asked, share + 5)
            assert (found.count(200), found.count(429)) == (share, 5)
            own = make_batch(engine, {"a": None}, producer_id=producer_of(engine, "other"))
            with other.stream("GET", f"/v1/batches/{own}/events") as answer:
                assert answer.status_code == 200
            is_served(other)
        wait_until(lambda: len(services_of.events.places) == 0, "all have ended")

    def test_that_find_no_batch_leave_no_place_taken(self, shop: httpx.Client, services_of: Services) -> None:
        """Whatever an answer is, its place is given back."""
        for _ in range(3):
            assert shop.get(f"/v1/batches/{uuid.uuid4()}/events").status_code == 404
        assert len(services_of.events.places) == 0


class TestWaits:
    @pytest.mark.long("fills each pool; the test of turns has the rule")
    def test_of_one_producer_are_a_quarter(
        self,
        shop: httpx.Client,
        other: httpx.Client,
        services_of: Services,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Past it they are refused at once, and another may wait."""
        monkeypatch.setattr(services_of.watch._places, "most", 40)
        job_id = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
        with half_sent(shop, 13, f"/v1/jobs/{job_id}?wait=60", method="GET") as asked:
            assert statuses(asked, 3) == [429] * 3
            assert len(services_of.watch) == 10
            own = other.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
            assert other.get(f"/v1/jobs/{own}?wait=0.2").status_code == 200


class TestDownloads:
    @pytest.mark.long("fills each pool; the test of turns has the rule")
    def test_of_one_producer_are_a_quarter(
        self, shop: httpx.Client, other: httpx.Client, engine: Engine, services_of: Services
    ) -> None:
        """Results that nobody reads to the end are as many as its share."""
        batch = shop.post("/v1/batches", json={"name": "b"}).json()["id"]
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO jobs"
                    " (batch_id, producer_id, source, state, virtual_start, finished_at, code)"
                    " SELECT b.id, b.producer_id, 's', 'failed', 0, now(), 'X' FROM batches b,"
                    " generate_series(1, 60000)"
                )
            )
        share = share_of(services_of.downloads.most)
        with half_sent(shop, share + 3, f"/v1/batches/{batch}/results", method="GET") as asked:
            assert sorted(statuses(asked, share + 3)) == [200] * share + [429] * 3
            is_served(other)
        wait_until(lambda: len(services_of.downloads) == 0, "all have ended", within_s=scaled(10))


class TestTurns:
    @pytest.mark.parametrize(
        "pool",
        ["threads", "upload_threads", "download_threads", "validations", "compressions", "_quick", "_slow"],
    )
    def test_of_one_producer_hang_without_holding_up_another(
        self, app: FastAPI, services_of: Services, pool: str
    ) -> None:
        """In each pool it works on a quarter of the threads; what it asks beyond waits behind that."""
        threads: Threads = getattr(services_of, pool, None) or getattr(services_of.looks, pool)
        loop = app.state.readiness._loop
        one, other, free = uuid.uuid4(), uuid.uuid4(), threading.Event()

        def ask(of: uuid.UUID, work: Callable[[], bool]) -> "Future[bool]":
            return asyncio.run_coroutine_threadsafe(threads.run(of, work), loop)

        asked = [ask(one, free.wait) for _ in range(MANY)]
        wait_until(lambda: threads.limiter.borrowed_tokens == threads.share, "they hang")
        assert ask(other, lambda: True).result(scaled(2))
        assert threads.limiter.statistics().tasks_waiting == 0
        free.set()
        assert all(answer.result(scaled(5)) for answer in asked)

    def test_end_with_a_refusal_and_none_is_lost(self, app: FastAPI, services_of: Services) -> None:
        """A client that waited in vain is asked to come again; then as many as before may work."""
        threads, loop = services_of.threads, app.state.readiness._loop
        free, one = threading.Event(), uuid.uuid4()

        async def ask() -> bool:
            async with threads.turn(one, patience_s=0.1):
                return await to_thread.run_sync(free.wait, limiter=threads.limiter)

        asked = [asyncio.run_coroutine_threadsafe(ask(), loop) for _ in range(threads.share + 3)]
        wait_until(lambda: sum(answer.done() for answer in asked) == 3, "three are refused")
        refused = [answer for answer in asked if answer.done()]
        for answer in refused:
            with pytest.raises(ProblemError, match="429"):
                answer.result()
        free.set()
        assert all(answer.result(scaled(5)) for answer in asked if answer not in refused)
        assert asyncio.run_coroutine_threadsafe(ask(), loop).result(scaled(5))
        assert threads._turns == {}

    def test_wait_for_each_other_and_for_a_time(self, shop: httpx.Client, services_of: Services) -> None:
        """Many requests at once of one producer are all served, a few at a time."""
        job_id = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
        with ThreadPoolExecutor(20) as pool:
            asked: list[Future[httpx.Response]] = [
                pool.submit(shop.get, f"/v1/jobs/{job_id}/explanation") for _ in range(60)
            ]
            assert {answer.result().status_code for answer in asked} == {200}
        assert services_of.threads._turns == {}

    def test_are_taken_by_every_route_that_needs_a_thread(self) -> None:
        """A route that is no coroutine has its producer's turn, so none can be forgotten."""
        found = 0
        for route in itertools.chain.from_iterable(part.router.routes for part in ROUTES):
            if isinstance(route, APIRoute) and route.path.startswith("/v1/"):
                calls = [part.call for part in _parts(route.dependant)]
                if not all(iscoroutinefunction(call) or isasyncgenfunction(call) for call in calls):
                    assert turn in calls, route.path
                    found += 1
        assert found > 10


def _parts(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _parts(part)
