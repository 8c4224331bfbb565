"""Probes of every process: live while its loops advance, ready while the stores that it needs answer."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from cutout.monitoring.check import Check
from cutout.monitoring.probes import Look, Probes, found_by, live_page, share_look
from cutout.telemetry import loops, metrics_server
from cutout.telemetry.loops import WatchedLoop, watched
from cutout.telemetry.metrics_server import serve_metrics, shown
from tests.operations.measured import MeasuredSystem
from tests.support.machine import scaled
from tests.support.ports import free_port
from tests.support.proxy import Mode, Proxy
from tests.support.system import wait_until

LOOPS = {
    "api": {"event loop"},
    "dispatcher": {"dispatcher"},
    "ingester": {"ingester"},
    "renderer": {"heartbeat", "renderer 0"},
    "worker": {"consumer", "heartbeat"},
}
STORES = {
    "dispatcher": {"database", "migrations", "redis"},
    "ingester": {"bucket", "database", "migrations"},
    "renderer": {"bucket", "database", "migrations"},
    "worker": {"bucket", "database", "migrations", "redis"},
}


@pytest.fixture
def no_loops() -> Iterator[None]:
    """Start without the loops of other tests in this process, and leave none."""
    with loops._lock:
        before = set(loops._loops)
        loops._loops.clear()
    yield
    with loops._lock:
        loops._loops.clear()
        loops._loops.update(before)


def page(system: MeasuredSystem, name: str, path: str) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"http://{system.addresses[name]}{path}", timeout=15.0)
    return answer.status_code, answer.json()


def start_rest(system: MeasuredSystem) -> None:
    """Start what a system leaves out, and wait until all is ready."""
    system.start("ingester", "ingester")
    system.start("renderer", "renderer", "--processes", "1")
    for name in LOOPS:
        wait_until(lambda name=name: answers(system, name), f"{name} is ready")  # type: ignore[misc]


def answers(system: MeasuredSystem, name: str) -> bool:
    try:
        return page(system, name, "/readyz")[0] == 200
    except httpx.TransportError:
        return False


@pytest.mark.usefixtures("bucket")
def test_every_process_says_that_it_lives_and_is_ready(environment: dict[str, str], tmp_path: Path) -> None:
    """Each names its loops with their ages and what it needs; HEAD is answered as GET, and nothing is
    written.

    With an older schema none is ready, and each still lives; with a newer one all are ready.
    """
    with MeasuredSystem(environment, tmp_path) as system:
        start_rest(system)
        for name, expected in LOOPS.items():
            status, found = page(system, name, "/livez")
            assert (status, found["status"]) == (200, "live"), name
            assert {loop["name"] for loop in found["loops"]} == expected
            assert all(loop["age_seconds"] < loop["limit_seconds"] for loop in found["loops"])
            for path in ("/livez", "/readyz"):
                head = httpx.head(f"http://{system.addresses[name]}{path}")
                assert (head.status_code, head.content) == (200, b"")
                assert int(head.headers["content-length"]) > 0
                assert httpx.post(f"http://{system.addresses[name]}{path}").status_code == 405
            assert httpx.get(f"http://{system.addresses[name]}/other").status_code == 404
        for name, stores in STORES.items():
            assert page(system, name, "/readyz") == (
                200,
                {"status": "ready", "checks": dict.fromkeys(stores, "ok")},
            )
        system.execute("UPDATE alembic_version SET version_num = '9999'")
        time.sleep(1.1)
        assert {name: page(system, name, "/readyz")[0] for name in LOOPS} == dict.fromkeys(LOOPS, 200)
        system.execute("UPDATE alembic_version SET version_num = '0000'")
        time.sleep(1.1)
        assert {name: page(system, name, "/readyz")[0] for name in LOOPS} == dict.fromkeys(LOOPS, 503)
        assert {name: page(system, name, "/livez")[0] for name in LOOPS} == dict.fromkeys(LOOPS, 200)


@pytest.mark.usefixtures("bucket")
def test_a_store_that_is_frozen_makes_who_needs_it_unready_in_time(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """With a Redis that takes connections and does not answer, dispatcher and worker say so within seconds,
    and live; once it answers they are ready again.
    """
    redis = urlsplit(environment["CUTOUT_REDIS_URL"])
    assert redis.port is not None
    with Proxy(redis.port) as proxy:
        there = urlsplit(proxy.url)
        through = redis._replace(netloc=f":{redis.password}@127.0.0.1:{there.port}").geturl()
        with MeasuredSystem(environment | {"CUTOUT_REDIS_URL": through}, tmp_path) as system:
            for name in ("dispatcher", "worker"):
                wait_until(lambda name=name: answers(system, name), name)  # type: ignore[misc]
            proxy.set(Mode.STALL)
            time.sleep(1.1)
            for name in ("dispatcher", "worker"):
                began = time.monotonic()
                status, found = page(system, name, "/readyz")
                assert time.monotonic() - began < scaled(5.0)
                assert (status, found["status"], found["checks"]["database"]) == (503, "not ready", "ok")
                assert found["checks"]["redis"] != "ok"
                assert page(system, name, "/livez")[0] == 200
                assert system.samples(name)["cutout_store_up", "redis"] == 0
                assert system.samples(name)["cutout_store_up", "database"] == 1
            proxy.set(Mode.PASS)
            for name in ("dispatcher", "worker"):
                wait_until(lambda name=name: answers(system, name), name)  # type: ignore[misc]


def a_look(*, ok: bool) -> Look:
    return share_look("store", lambda: [Check("store", ok=ok, found="ok" if ok else "away")])


@pytest.mark.usefixtures("no_loops")
class TestLoops:
    def test_one_that_stands_is_not_live(self) -> None:
        """It is named, with its age; one without a limit is only shown, and one that turns is live again."""
        limit_s = scaled(0.05)
        with watched(WatchedLoop("a", limit_s)) as loop, watched(WatchedLoop("b")):
            time.sleep(2 * limit_s)
            live, document = Probes({"store": a_look(ok=True)}, ["a"]).live()
            found = json.loads(document)
            assert (live, found["status"]) == (False, "not live")
            assert [each["name"] for each in found["loops"]] == ["a", "b"]
            assert found["loops"][0]["age_seconds"] >= round(2 * limit_s, 3)
            loop.turn()
            assert live_page()[0]

    def test_one_that_waits_for_a_store_lives(self) -> None:
        """A restart would not help; once the store answers, the loop has its whole time anew."""
        limit_s = scaled(0.2)
        with watched(WatchedLoop("a", limit_s)):
            time.sleep(1.25 * limit_s)
            live, document = Probes({"store": a_look(ok=False)}, ["a"]).live()
            assert (live, json.loads(document)["status"]) == (True, "waits for a store")
            assert Probes({"store": a_look(ok=True)}, ["a"]).live()[0]

    def test_one_that_an_error_ended_becomes_late(self) -> None:
        """A thread that died does not pass for one that was stopped."""
        with pytest.raises(RuntimeError), watched(WatchedLoop("a", 0.05)):
            raise RuntimeError
        time.sleep(0.1)
        assert not live_page()[0]
        with watched(WatchedLoop("b", 0.05)):
            pass
        assert [turn.name for turn in loops.turns()] == ["a"]

    def test_a_process_is_not_ready_before_its_loops_run(self) -> None:
        """Nor while one is late."""
        probes = Probes({"store": a_look(ok=True)}, ["a"])
        assert json.loads(probes.ready()[1])["checks"] == {"store": "ok", "a": "not started"}
        with watched(WatchedLoop("a", 0.05)):
            assert probes.ready()[0]
            time.sleep(0.1)
            assert json.loads(probes.ready()[1])["checks"] == {"store": "ok", "a": "late"}


def test_many_who_probe_cost_one_look() -> None:
    """However many ask at once and within a second, the store is asked once; one that hangs keeps one
    thread.
    """
    asked, free = [], threading.Event()

    def hang() -> list[Check]:
        asked.append(1)
        free.wait()
        return [Check("store", ok=True, found="ok")]

    shared = {"store": share_look("store", hang)}
    threads = [threading.Thread(target=found_by, args=(shared, 0.2)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (check,) = found_by(shared, 0.1)["store"]
    assert (len(asked), check.ok, check.found) == (1, False, "no answer within 0.1 s")
    free.set()
    for _ in range(20):
        assert found_by(shared)["store"][0].ok
    assert len(asked) == 1


def test_a_process_that_starts_is_not_taken_for_a_ready_one() -> None:
    """Before its probes are there they answer 503, while the metrics answer; an error in a page is no 200."""
    address = f"127.0.0.1:{free_port()}"
    serve_metrics(address)
    assert httpx.get(f"http://{address}/livez").status_code == 503
    assert httpx.get(f"http://{address}/readyz").json() == {"status": "starting"}
    assert httpx.get(f"http://{address}/metrics").status_code == 200
    with shown("/livez", lambda: (True, b"{}")):
        assert httpx.get(f"http://{address}/livez?verbose").status_code == 200


class TestTheServer:
    @pytest.fixture
    def port(self) -> int:
        """The port of one in this process, for a test alone."""
        port = free_port()
        serve_metrics(f"127.0.0.1:{port}")
        return port

    @pytest.mark.parametrize("host", ["[", "a/metrics?", "a/healthz", "a" * 5000])
    def test_reads_no_path_out_of_the_host(
        self, port: int, host: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """/livez is /livez, whatever the request says of where it is."""
        with shown("/livez", lambda: (True, b'{"status": "alive"}')):
            said = _said(port, f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert said.split(b"\r\n")[0].endswith(b" 200 OK")
        assert said.endswith(b'{"status": "alive"}')
        assert "Traceback" not in capfd.readouterr().err

    @pytest.mark.parametrize("begin", [b"", b"GET /metrics HTTP/1.1\r\n"])
    def test_closes_the_connection_of_who_drips(
        self, port: int, begin: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A byte now and then keeps no thread: the time is that of the whole request."""
        monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT_S", 0.5)
        with socket.create_connection(("127.0.0.1", port), timeout=scaled(5)) as connection:
            connection.sendall(begin)
            began = time.monotonic()
            with suppress(OSError):
                while time.monotonic() - began < scaled(5):
                    connection.sendall(b"a")
                    time.sleep(0.1)
            assert 0.4 < time.monotonic() - began < scaled(2)
        assert "Traceback" not in capfd.readouterr().err


def _said(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=scaled(5)) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
