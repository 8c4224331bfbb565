"""Renderer process: makes outputs until SIGTERM or SIGINT. Its argument: how many pictures at a time."""

import logging
import os
import signal
import sys
from types import FrameType

from cutout.models.database import connect
from cutout.monitoring.probes import probed
from cutout.monitoring.process_metrics import serve_process
from cutout.settings import read_settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from migrations.run import pending
from worker.renderer.loop import LOOP, Renderer


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = read_settings()
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count() or 1
    logs.configure(settings)
    # One more for the heartbeat.
    engine = connect(
        settings.database_url.get_secret_value(), connections=processes + 1, name="cutout-renderer"
    )
    bucket = Bucket(settings, connections=2 * processes)
    renderer = Renderer(settings, engine, bucket, processes=processes)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        renderer.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    with probed(settings, pending, loops=[LOOP], bucket=bucket):
        serve_process("renderer", settings)
        ended = renderer.run()
    if not ended:
        # Their threads would be waited for at exit.
        logging.shutdown()
        os._exit(0)


if __name__ == "__main__":
    main()
