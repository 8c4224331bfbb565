"""Serves a process's metrics for Prometheus, on an address of their own that is not the public's."""

import logging
import threading

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

log = logging.getLogger(__name__)

TRY_AGAIN_S = 5.0
# A client that sends nothing lets its thread go after so long.
CLIENT_TIMEOUT_S = 10


def serve_metrics(address: str | None, registry: CollectorRegistry = REGISTRY) -> None:
    """Serve at `host:port` until the process ends; nothing without an address.

    An address that is taken, as by a process that is about to end, is tried again beside the work.
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
    server.RequestHandlerClass.timeout = CLIENT_TIMEOUT_S  # type: ignore[attr-defined]
    log.info("metrics are served at %s:%d", host, port)
    return True
