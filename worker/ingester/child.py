"""Child process that carries out one request, given by its batch id; killed first when memory is short.

It is started by an ingester that holds the request, and stops when its standard input ends, as it does when
the ingester dies.
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

from cutout.images.frames import KILL_ME_FIRST
from cutout.ingest.pending import find_request
from cutout.ingest.stop import Stop
from cutout.models.database import connect, is_away, kind_of
from cutout.settings import Settings, read_settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from worker.ingester.reader import Reader

log = logging.getLogger(__name__)

# Exit status if Postgres is unreachable: then the request is not to blame.
POSTGRES_UNREACHABLE = os.EX_TEMPFAIL
# As many as the ingester uses for one request that is read.
CONNECTIONS, CONNECTIONS_TO_BUCKET = 4, 10
STOP_WITHIN_S = 3.0


def main() -> None:
    """Carry out the request."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_ME_FIRST)
    loaded, batch_id, stop = read_settings(), uuid.UUID(sys.argv[1]), Stop()
    logs.configure(loaded)
    threading.Thread(target=_stop_with_input, args=(stop,), daemon=True).start()
    try:
        _carry_out(loaded, batch_id, stop)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("Postgres is unreachable (%s), batch %s is read later", kind_of(error), batch_id)
        sys.exit(POSTGRES_UNREACHABLE)


def _carry_out(settings: Settings, batch_id: uuid.UUID, stop: Stop) -> None:
    engine = connect(
        settings.database_url.get_secret_value(), connections=CONNECTIONS, name="cutout-ingester"
    )
    reader = Reader(settings, engine, Bucket(settings, connections=CONNECTIONS_TO_BUCKET))
    with engine.connect() as connection, logs.about(batch_id=str(batch_id)):
        request = find_request(connection, batch_id)
        connection.commit()
        if request is not None:
            # The ingester has counted the claim already.
            request = replace(request, deaths=max(request.deaths - 1, 0))
            work = reader.fetch if request.to_fetch else reader.read
            work(connection, request, stop)


def _stop_with_input(stop: Stop) -> None:
    # Not by the buffered reader: its lock would make the interpreter abort at exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()
    threading.Event().wait(STOP_WITHIN_S)
    logging.shutdown()
    os._exit(1)


if __name__ == "__main__":
    main()
