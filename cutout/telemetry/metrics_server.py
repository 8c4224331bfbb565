"""Internal HTTP server of a process: its metrics for Prometheus, and its probes as JSON pages."""

import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

TRY_AGAIN_S = 5.0
# A client has so long to send its whole request, and as long again to take the answer.
CLIENT_TIMEOUT_S = 10.0
METRICS_PATHS = frozenset({"/", "/metrics"})
PROBES = LIVE, READY = "/livez", "/readyz"
STARTING = b'{"status": "starting"}'
JSON = ("Content-Type", "application/json")

# A page besides the metrics: whether all is well, and a JSON document.
Page = Callable[[], tuple[bool, bytes]]
_pages: dict[str, Page] = {}


@contextmanager
def shown(path: str, page: Page) -> Iterator[None]:
    """Serve a page at the path while the context lasts: 200 if all is well, else 503."""
    _pages[path] = page
    try:
        yield
    finally:
        del _pages[path]


class _Incoming(io.RawIOBase):
    """Bytes from a client until a time: one that sends a byte now and then holds no thread beyond it."""

    def __init__(self, connection: socket.socket, within_s: float) -> None:
        self._connection, self._ends_at = connection, time.monotonic() + within_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive into the buffer; raises TimeoutError once the time is over."""
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(CLIENT_TIMEOUT_S)


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Incoming(self.connection, CLIENT_TIMEOUT_S))

    def handle(self) -> None:
        # The client has gone, or took too long.
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: scrapes are many."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOfSix(_Server):
    address_family = socket.AF_INET6


def _with_pages(metrics: "WSGIApplication") -> "WSGIApplication":
    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in METRICS_PATHS:
            return metrics(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        status, document = _page_at(path)
        start_response(status, [JSON, ("Content-Length", str(len(document)))])
        return [document] if environ["REQUEST_METHOD"] == "GET" else []

    return serve


def _page_at(path: str) -> tuple[str, bytes]:
    page = _pages.get(path)
    if page is None:
        # A process that does not answer yet must not pass for one that is well.
        return ("503 Service Unavailable", STARTING) if path in PROBES else ("404 Not Found", b"{}")
    is_well, document = page()
    return "200 OK" if is_well else "503 Service Unavailable", document


def serve_metrics(address: str | None, registry: CollectorRegistry = REGISTRY) -> None:
    """Serve at `host:port` until the process ends; does nothing without an address.

    If the address is in use, as by a process that is about to end, a thread tries again later.
    """
    if address is None:
        return
    # Each would be a second series beside every counter.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    host, _, port = address.rpartition(":")
    if not _serve(host.strip("[]"), int(port), registry):
        waiting = threading.Thread(
            target=_serve_later, args=(host.strip("[]"), int(port), registry), name="metrics", daemon=True
        )
        waiting.start()


def _serve_later(host: str, port: int, registry: CollectorRegistry) -> None:
    again = threading.Event()
    while not again.wait(TRY_AGAIN_S):
        if _serve(host, port, registry):
            return


def _serve(host: str, port: int, registry: CollectorRegistry) -> bool:
    app = _with_pages(make_wsgi_app(registry))
    server_class = _ServerOfSix if ":" in host else _Server
    try:
        # With its own pages from the first request on: a probe that gets metrics would take them for well.
        server = make_server(host, port, app, server_class=server_class, handler_class=_Handler)
    except OSError as error:
        log.warning(
            "metrics cannot be served at %s:%d (%s); give each process on one machine a"
            " CUTOUT_METRICS_ADDRESS of its own",
            host,
            port,
            error.strerror,
        )
        return False
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics are served at %s:%d", host, port)
    return True
