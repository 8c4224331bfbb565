"""The dispatcher as a process: runs until SIGTERM or SIGINT."""

import os
import signal
import threading
from types import FrameType

from cutout.models.database import connect
from cutout.settings import read_settings
from cutout.telemetry import logs
from cutout.telemetry.metrics_server import serve_metrics
from worker.dispatcher.loop import ENDS_SILENT_SESSIONS, ENDS_WITHIN_S, Dispatcher


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    current = read_settings()
    logs.configure(current)
    engine = connect(
        current.database_url.get_secret_value(),
        connections=1,
        name="cutout-dispatcher",
        check_first=False,
        autocommit=True,
        server_settings=ENDS_SILENT_SESSIONS,
    )
    dispatcher = Dispatcher(current, engine)
    _on_signals(dispatcher)
    serve_metrics(current.metrics_address)
    dispatcher.run()


def _on_signals(dispatcher: Dispatcher) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        end = threading.Timer(ENDS_WITHIN_S, os._exit, [0])
        end.daemon = True
        end.start()
        dispatcher.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


if __name__ == "__main__":
    main()
