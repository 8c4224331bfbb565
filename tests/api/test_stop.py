"""A process that is told to end: not ready first, then closed, and over within a bound."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from cutout.storage import Bucket
from tests.api.conftest import Served, key_for, producer_of
from tests.api.test_jobs import SOURCE
from tests.support.fates import make_batch
from tests.support.forked import start_module
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.slow_http import half_sent
from tests.support.system import wait_until

Start = Callable[[float, int], Served]
FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + b"x" * 2000


@pytest.fixture
def start(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[Start]:
    """Starts `cutout api` with so many seconds to drain and to stop."""
    with ExitStack() as stack:

        def started(drain_s: float, stop_s: int) -> Served:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = str(listener.getsockname()[1])
            times = {"CUTOUT_API_DRAIN_SECONDS": str(drain_s), "CUTOUT_API_STOP_SECONDS": str(stop_s)}
            process = start_module(
                "api", "127.0.0.1", port, environment=environment | times, log=tmp_path / "api.log"
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            served = Served(f"http://127.0.0.1:{port}", process)
            wait_until(lambda: _status(served) == 200, "it is ready")
            return served

        yield started


def _status(served: Served) -> int | None:
    """That of /readyz over a new connection; None if nothing is taken."""
    try:
        return httpx.get(f"{served.url}/readyz", verify=NO_TLS, timeout=scaled(5)).status_code
    except httpx.TransportError:
        return None


def _waiting(engine: Engine) -> int:
    """Sessions of this database that wait for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


class TestToldToEnd:
    def test_it_is_not_ready_first_and_ends_whatever_is_under_way(
        self, start: Start, engine: Engine, bucket: Bucket
    ) -> None:
        """Slow uploads, a stream, a wait and connections that are kept do not keep it from its end."""
        stop_s = 1
        served = start(600, stop_s)
        headers = key_for(engine, "shop")
        batch = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        with (
            httpx.Client(base_url=served.url, headers=headers, timeout=scaled(10), verify=NO_TLS) as shop,
            httpx.Client(base_url=served.url, timeout=scaled(10), verify=NO_TLS) as idle,
            half_sent(
                shop, 2, "/v1/batches?name=b", "Content-Type: text/csv", "Content-Length: 9000000", start=b"a"
            ),
            half_sent(
                shop,
                2,
                "/v1/jobs",
                "Content-Type: multipart/form-data; boundary=x",
                "Content-Length: 900000",
                start=FORM,
            ),
            half_sent(shop, 1, f"/v1/batches/{batch}/events", method="GET") as streams,
            half_sent(shop, 1, f"/v1/batches/{batch}?wait=60", method="GET") as waits,
        ):
            assert idle.get("/healthz").headers.get("connection") != "close"
            wait_until(lambda: b"progress" in streams[0].recv(65536), "the stream has begun")
            served.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _status(served) == 503, "it is not ready")
            # A balancer has not heard of it yet.
            assert shop.post("/v1/jobs", json={"source_url": SOURCE}).status_code == 201
            assert idle.get("/healthz").headers["connection"] == "close"
            served.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert b'"id":"' in b"".join(iter(lambda: waits[0].recv(65536), b""))
            assert served.process.wait(scaled(15)) == 0
            assert time.monotonic() - began >= stop_s
            assert _status(served) is None
        assert bucket.keys("") == []
        uploads = bucket._client.list_multipart_uploads(Bucket=bucket.name)
        assert uploads.get("Uploads", []) == []

    def test_with_nothing_under_way_it_ends_after_the_drain(self, start: Start) -> None:
        """By one signal, and not before a balancer could have seen it."""
        served = start(1, 50)
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(scaled(10)) == 0
        assert time.monotonic() - began >= 1

    @pytest.mark.long("waits out the bound on what hangs")
    def test_work_that_hangs_is_broken_off(self, start: Start, engine: Engine) -> None:
        """A statement that waits for a lock does not hold the process; what it had begun is rolled back."""
        served = start(0, 1)
        headers = key_for(engine, "shop")
        batch = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        with (
            engine.begin() as connection,
            httpx.Client(base_url=served.url, headers=headers, timeout=scaled(10), verify=NO_TLS) as shop,
        ):
            connection.execute(text("SELECT FROM jobs WHERE batch_id = :id FOR UPDATE"), {"id": batch})
            connection.execute(text("SELECT FROM batches WHERE id = :id FOR UPDATE"), {"id": batch})
            with half_sent(shop, 1, f"/v1/batches/{batch}/cancel", "Content-Length: 0"):
                wait_until(lambda: _waiting(engine) > 0, "it hangs")
                began = time.monotonic()
                served.process.send_signal(signal.SIGTERM)
                assert served.process.wait(scaled(15)) == 0
                assert time.monotonic() - began < scaled(9)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT state FROM jobs")) == "queued"
