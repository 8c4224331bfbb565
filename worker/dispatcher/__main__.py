"""The dispatcher as a process: runs until SIGTERM or SIGINT."""

import os
import signal
import threading
from types import FrameType

from cutout.models.database import connect
from cutout.monitoring.probes import probed
from cutout.monitoring.process_metrics import serve_process
from cutout.settings import read_settings
from cutout.telemetry import logs
from migrations.run import pending
from worker.dispatcher.loop import ENDS_SILENT_SESSIONS, ENDS_WITHIN_S, LOOP, Dispatcher


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
    with probed(current, pending, loops=[LOOP], redis=True):
        serve_process("dispatcher", current)
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
