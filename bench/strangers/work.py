"""Attacks by work: how long the victim's own takes meanwhile."""

import io
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from bench.strangers.rig import SILENT_HOSTS, Rig, silent
from bench.strangers.row import Row

GIVE_UP_AFTER_S = 300.0
LOOK_EVERY_S = 0.01
ROUNDS = 3
RECEIVERS = 1000
SOURCES_TIMES, WEBHOOK_S, MANIFEST_S, LIST_S = 1.5, 2.0, 5.0, 10.0
LONG_LIST = 10_000


def silent_sources(rig: Rig) -> list[Row]:
    """60 interactive jobs whose hosts never answer, beside one picture that is uploaded."""
    alone = min(_interactive(rig) for _ in range(ROUNDS))
    with ExitStack() as context, rig.client(rig.attacker) as client:
        for host in SILENT_HOSTS:
            port = context.enter_context(silent(host))
            job = {"source_url": f"http://{host}:{port}/{uuid.uuid4()}.jpg", "priority": "interactive"}
            client.post("/v1/jobs", json=job).raise_for_status()
        time.sleep(3)
        attacked = max(_interactive(rig) for _ in range(ROUNDS))
    reached = attacked <= alone * SOURCES_TIMES
    return [
        Row("60 jobs at silent hosts: an interactive job", alone, attacked, f"{SOURCES_TIMES} times", reached)
    ]


def _interactive(rig: Rig) -> float:
    with rig.client(rig.victim) as client:
        began = time.perf_counter()
        answer = client.post("/v1/jobs", files={"image": _picture()}, data={"priority": "interactive"})
        job = answer.raise_for_status().json()
        while job["state"] != "succeeded":
            _give_up(began, job)
            job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
            time.sleep(LOOK_EVERY_S)
        return time.perf_counter() - began


def silent_receivers(rig: Rig) -> list[Row]:
    """A thousand receivers that never answer, then one message to a good one."""
    with _receiver() as (url, came):
        alone = _message(rig, url, came)
    with ExitStack() as context, _receiver() as (url, came), rig.client(rig.attacker) as client:
        for _ in range(RECEIVERS):
            port = context.enter_context(silent(backlog=8))
            _cancelled(client, f"http://127.0.0.1:{port}/hook")
        attacked = _message(rig, url, came)
    what = f"{RECEIVERS:,} silent webhook receivers: another's message"
    return [Row(what, alone, attacked, f"{WEBHOOK_S:g} s", attacked < WEBHOOK_S)]


def _message(rig: Rig, url: str, came: threading.Event) -> float:
    with rig.client(rig.victim) as client:
        began = time.perf_counter()
        _cancelled(client, url)
        came.wait(GIVE_UP_AFTER_S)
        return time.perf_counter() - began


def _cancelled(client: Any, webhook: str) -> None:
    """A job that ends at once, and tells this receiver."""
    job = {"source_url": f"https://shop.example/{uuid.uuid4()}.jpg", "webhook_url": webhook}
    made = client.post("/v1/jobs", json=job).raise_for_status().json()
    client.post(f"/v1/jobs/{made['id']}/cancel")


def dripping_manifest(rig: Rig) -> list[Row]:
    """A manifest that comes by a byte a second, beside a CSV of one row."""
    alone = _csv(rig)
    with _dripping() as url, rig.client(rig.attacker) as client:
        for _ in range(4):
            client.post("/v1/batches", json={"name": "drip", "manifest_url": url}).raise_for_status()
        time.sleep(3)
        attacked = _csv(rig)
    return [
        Row("dripping manifests: another's CSV", alone, attacked, f"{MANIFEST_S:g} s", attacked < MANIFEST_S)
    ]


def _csv(rig: Rig) -> float:
    rows = f"external_id,source\nA,https://shop.example/{uuid.uuid4()}.jpg\n"
    with rig.client(rig.victim) as client:
        began = time.perf_counter()
        answer = client.post("/v1/batches?name=one", content=rows, headers={"Content-Type": "text/csv"})
        batch = answer.raise_for_status().json()
        while (batch.get("ingest") or {}).get("state") not in ("read", "failed"):
            _give_up(began, batch)
            time.sleep(LOOK_EVERY_S)
            batch = client.get(f"/v1/batches/{batch['id']}").raise_for_status().json()
        return time.perf_counter() - began


def long_list(rig: Rig) -> list[Row]:
    """A list of 10,000 jobs in one request."""
    jobs = [
        {"external_id": f"S-{n}", "source_url": f"https://shop.example/{n}.jpg"} for n in range(LONG_LIST)
    ]
    took = []
    with rig.client(rig.victim) as client:
        for count in (1, LONG_LIST):
            began = time.perf_counter()
            client.post("/v1/batches", json={"name": "long", "jobs": jobs[:count]}).raise_for_status()
            took.append(time.perf_counter() - began)
    return [Row("a list of one job, and of 10,000", took[0], took[1], f"{LIST_S:g} s", took[1] < LIST_S)]


def _give_up(began: float, seen: Any) -> None:
    if time.perf_counter() - began > GIVE_UP_AFTER_S:
        raise SystemExit(f"after {GIVE_UP_AFTER_S:g} s it is still {seen}")


def _picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()


@contextmanager
def _receiver() -> Iterator[tuple[str, threading.Event]]:
    came = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            came.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _dripping() -> Iterator[str]:
    """A manifest of which a byte comes each second."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\n")
            try:
                while not ended.wait(1):
                    connection.sendall(b"a")
            except OSError:
                # Who was to read it has had enough, which is right.
                return

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=[connection], daemon=True).start()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/m.csv"
        ended.set()
