"""Serve the API: `python -m api HOST PORT`; `cutout api` does it."""

import signal
import sys
from types import FrameType

from api.lifecycle.forced_exit import end_in_time
from api.server import Server, server_options
from cutout.imports import uncollected
from cutout.monitoring.process_metrics import serve_process
from cutout.settings import read_settings
from cutout.telemetry import logs, traces


def main() -> None:
    """Serve until SIGTERM or SIGINT, finish what is under way, and exit with 0."""
    host, port = sys.argv[1:]
    # uvicorn raises the signal again once it has finished; an ordered end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    settings = read_settings()
    logs.configure(settings)
    traces.start(settings, "cutout-api")
    serve_process("api", settings)
    options = server_options(
        app="api.app:create_app",
        factory=True,
        host=host,
        port=int(port),
        log_config=None,
        forwarded_allow_ips=list(settings.api_trusted_proxies),
        timeout_graceful_shutdown=settings.api_stop_seconds,
    )
    # Before the server takes its signals: the modules imported here answer clients that wait when it ends.
    with uncollected():
        options.load()
    server = Server(options, drain_s=settings.api_drain_seconds)
    try:
        server.run()
        if not server.started:
            sys.exit(1)
    finally:
        if server.started:
            end_in_time()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
