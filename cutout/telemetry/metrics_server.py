"""Internal HTTP server of a process: its metrics for Prometheus, and JSON pages such as its state."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from wsgiref.util import request_uri

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app, start_http_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

TRY_AGAIN_S = 5.0
# The connection of a client that sends nothing is closed after this time.
CLIENT_TIMEOUT_S = 10


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


def _with_pages(metrics: "WSGIApplication") -> "WSGIApplication":
    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        page = _pages.get(urlsplit(request_uri(environ)).path)
        if page is None:
            return metrics(environ, start_response)
        is_well, document = page()
        start_response(
            "200 OK" if is_well else "503 Service Unavailable", [("Content-Type", "application/json")]
        )
        return [document]

    return serve


def serve_metrics(address: str | None, registry: CollectorRegistry = REGISTRY) -> None:
    """Serve at `host:port` until the process ends; does nothing without an address.

    If the address is in use, as by a process that is about to end, a thread tries again later.
    """
    if address is None:
        return
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
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        log.warning(
            "metrics cannot be served at %s:%d (%s); give each process on one machine a"
            " CUTOUT_METRICS_ADDRESS of its own",
            host,
            port,
            error.strerror,
        )
        return False
    server.set_app(_with_pages(make_wsgi_app(registry)))
    server.RequestHandlerClass.timeout = CLIENT_TIMEOUT_S  # type: ignore[attr-defined]
    log.info("metrics are served at %s:%d", host, port)
    return True
