"""A process that carries out one request, whose id it is given, and is the first to go when memory is short.

An ingester that holds the request starts it. It stops when its input ends, as it does when that one dies.
"""

import logging
import os
import resource
import sys
import threading
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cutout.images.decoder_child import KILL_ME_FIRST
from cutout.ingest.pending import find_request
from cutout.ingest.stop import Stop
from cutout.models.database import connect, is_away, kind_of
from cutout.settings import Settings, settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from worker.ingester.reader import Reader

log = logging.getLogger(__name__)

# As it ends when Postgres is away: that is no fault of what it reads.
POSTGRES_AWAY = os.EX_TEMPFAIL
# As the ingester has them for one that is read.
CONNECTIONS, CONNECTIONS_TO_BUCKET = 4, 10
STOP_WITHIN_S = 3.0


def main() -> None:
    """Carry it out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_ME_FIRST)
    known, batch_id, stop = settings(), uuid.UUID(sys.argv[1]), Stop()
    logs.configure(known)
    threading.Thread(target=_stop_with_input, args=(stop,), daemon=True).start()
    try:
        _carry_out(known, batch_id, stop)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("Postgres is away (%s), batch %s is read later", kind_of(error), batch_id)
        sys.exit(POSTGRES_AWAY)


def _carry_out(known: Settings, batch_id: uuid.UUID, stop: Stop) -> None:
    engine = connect(known.database_url.get_secret_value(), connections=CONNECTIONS, name="cutout-ingester")
    reader = Reader(known, engine, Bucket(known, connections=CONNECTIONS_TO_BUCKET))
    with engine.connect() as connection, logs.about(batch_id=str(batch_id)):
        request = find_request(connection, batch_id)
        connection.commit()
        if request is not None:
            # That it was taken up for this process is counted already.
            request = replace(request, deaths=max(request.deaths - 1, 0))
            work = reader.fetch if request.to_fetch else reader.read
            work(connection, request, stop)


def _stop_with_input(stop: Stop) -> None:
    # Without the lock of a buffered reader, by which the interpreter would abort at its end.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()
    threading.Event().wait(STOP_WITHIN_S)
    logging.shutdown()
    os._exit(1)


if __name__ == "__main__":
    main()
