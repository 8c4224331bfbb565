"""Ingester process: runs until SIGTERM or SIGINT."""

import logging
import os
import signal
from types import FrameType

from cutout.ingest.sources.temporary_space import free_bytes, needed_bytes
from cutout.models.database import connect
from cutout.settings import read_settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from cutout.telemetry.metrics_server import serve_metrics
from worker.ingester.loop import CONNECTIONS, CONNECTIONS_TO_BUCKET, Ingester, log


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    loaded = read_settings()
    logs.configure(loaded)
    serve_metrics(loaded.metrics_address)
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
    if not ingester.run():
        # Their threads would be waited for at exit.
        logging.shutdown()
        os._exit(0)


if __name__ == "__main__":
    main()
