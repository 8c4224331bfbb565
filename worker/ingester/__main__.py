"""Ingester process: runs until SIGTERM or SIGINT."""

import logging
import os
import signal
from types import FrameType

from cutout.ingest.sources.temporary_space import free_bytes, needed_bytes, remove_left_behind
from cutout.models.database import connect
from cutout.monitoring.probes import probed
from cutout.monitoring.process_metrics import serve_process
from cutout.settings import read_settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from migrations.run import pending
from worker.ingester.loop import CONNECTIONS, CONNECTIONS_TO_BUCKET, LOOP, Ingester, log


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    loaded = read_settings()
    logs.configure(loaded)
    if removed := remove_left_behind():
        log.info("removed %d temporary files that killed processes had left", removed)
    free, needed = free_bytes(), needed_bytes(loaded)
    if free < needed:
        log.warning(
            "the disk for temporary files has %s bytes free, and archives with their pictures need up to %s:"
            " make room, set TMPDIR, or set a smaller CUTOUT_MAX_ARCHIVE_BYTES",
            f"{free:,}",
            f"{needed:,}",
        )
    engine = connect(loaded.database_url.get_secret_value(), connections=CONNECTIONS, name="cutout-ingester")
    bucket = Bucket(loaded, connections=CONNECTIONS_TO_BUCKET)
    ingester = Ingester(loaded, engine, bucket)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        ingester.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    with probed(loaded, pending, loops=[LOOP], bucket=bucket):
        serve_process("ingester", loaded)
        ended = ingester.run()
    if not ended:
        # Their threads would be waited for at exit.
        logging.shutdown()
        os._exit(0)


if __name__ == "__main__":
    main()
