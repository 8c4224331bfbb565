"""Sources, manifests and webhooks of a public server that only the egress proxy reaches."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.support.connect_proxy import ConnectProxy, Way
from tests.support.system import System, wait_until

PUBLIC = "93.184.216.34"
SHOP = f"https://{PUBLIC}"
PASSWORD = "hidden-word"


class Shop:
    """A shop's server over TLS: a picture, a catalog, and what its receiver of webhooks was sent."""

    def __init__(self, photo: bytes, certificate: Path) -> None:
        pages = {"/a.jpg": photo, "/catalog.csv": f"external_id,source\nrow,{SHOP}/a.jpg\n".encode()}
        self.hooks: list[bytes] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path, b"")
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                shop.hooks.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # Its handshakes are made by the threads of the handlers.
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of the shop's address with its key."""
    path = tmp_path / "shop.pem"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", "/CN=shop", "-addext", f"subjectAltName=IP:{PUBLIC}"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(["/usr/bin/openssl", *made, *subject, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def shop(photo: bytes, certificate: Path) -> Iterator[Shop]:
    """The shop, running."""
    running = Shop(photo, certificate)
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.server.shutdown()
    thread.join()
    running.server.server_close()


@pytest.fixture
def proxy(shop: Shop) -> Iterator[ConnectProxy]:
    """The way to the shop, which asks for a login."""
    with ConnectProxy({f"{PUBLIC}:443": shop.server.server_port}, login=f"cutout:{PASSWORD}") as running:
        yield running


@pytest.fixture
def system(
    environment: dict[str, str], bucket: Bucket, tmp_path: Path, proxy: ConnectProxy, certificate: Path
) -> Iterator[System]:
    """API, dispatcher, worker and ingester behind the proxy."""
    assert bucket
    behind = {
        "CUTOUT_EGRESS_PROXY": proxy.url,
        "CUTOUT_WEBHOOK_SECRET": "w" * 32,
        "SSL_CERT_FILE": str(certificate),
    }
    with System(environment | behind, tmp_path) as running:
        running.start("ingester", "ingester")
        yield running


@pytest.mark.long("starts all processes; tests/cutout/network/test_egress_proxy.py has each fault of a proxy")
def test_nothing_fails_while_the_proxy_is_away(system: System, proxy: ConnectProxy, shop: Shop) -> None:
    """A job and a manifest wait while the proxy refuses, use no try, and are done once it is back."""
    proxy.way = 407
    job = system.client.post("/v1/jobs", json={"source_url": f"{SHOP}/a.jpg", "webhook_url": f"{SHOP}/hook"})
    batch = system.client.post("/v1/batches", json={"name": "c", "manifest_url": f"{SHOP}/catalog.csv"})
    assert (job.status_code, batch.status_code) == (201, 202), (job.text, batch.text)
    system.until("SELECT code = 'EGRESS_AWAY' AND queue_state = 'delayed' FROM jobs")
    system.until("SELECT code = 'EGRESS_AWAY' FROM ingests")
    assert system.scalar("SELECT tries FROM jobs") == 0
    assert system.scalar("SELECT tries FROM ingests") == 0

    proxy.way = Way.OPEN
    system.execute("UPDATE ingests SET due_at = now()")
    system.until("SELECT count(*) = 2 AND bool_and(state = 'succeeded') FROM jobs", without_rests=True)
    wait_until(lambda: bool(shop.hooks), "the webhook comes")

    assert set(proxy.asked) == {f"{PUBLIC}:443"}
    assert system.scalar("SELECT count(*) FROM attempts") == system.scalar("SELECT count(*) FROM jobs")
    said = "".join(system.log(name) for name in system.processes)
    assert "the egress proxy answered 407 to CONNECT" in said
    assert PASSWORD not in said


@pytest.mark.long("starts all processes; tests/worker/webhooks/test_responses.py classifies it")
def test_a_webhook_waits_for_the_proxy(system: System, proxy: ConnectProxy, shop: Shop) -> None:
    """A message that the proxy does not let out is tried later; nothing is held against its receiver."""
    source = system.client.post(
        "/v1/jobs", json={"source_url": f"{SHOP}/a.jpg", "webhook_url": f"{SHOP}/hook"}
    )
    source.raise_for_status()
    wait_until(lambda: len(shop.hooks) == 1, "the first webhook comes")
    # Its answer is under way until it is written down.
    system.until("SELECT count(*) = 1 FROM receivers")
    proxy.way = Way.DROP
    proxy.cut()
    system.execute(
        "INSERT INTO deliveries (producer_id, url, type, payload)"
        " SELECT producer_id, url, type, payload FROM deliveries"
    )
    system.until("SELECT bool_or(tries > 0 AND last_error LIKE 'the egress proxy%') FROM deliveries")
    assert system.scalar("SELECT count(*) FROM receivers") == 1
    proxy.way = Way.OPEN
    system.execute("UPDATE deliveries SET due_at = now() WHERE state = 'waiting'")
    wait_until(lambda: len(shop.hooks) == 2, "the second webhook comes")
