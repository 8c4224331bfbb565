"""Reads requested manifests and other sources into their batches. Run as many as you like."""

import logging
import signal
import tempfile
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType

from sqlalchemy import Connection, Engine

from jobs import logs
from jobs.database import connect, is_away, kind_of
from jobs.ingest import Ingest, IngestError, Progress, RejectsFile, StrictError, open_source
from jobs.ingest.memory import Memory
from jobs.ingest.opening import open_object
from jobs.ingest.planned import plan_batch
from jobs.ingest.requests import (
    Request,
    fail_request,
    keep_manifest,
    next_request,
    rest_for_room,
    rest_request,
)
from jobs.ingest.room import NoRoomError, Room
from jobs.ingest.shrinking import refuse_shrunk
from jobs.ingest.source import Source
from jobs.manifest import ManifestError
from jobs.metrics_server import serve_metrics
from jobs.settings import Settings, settings
from jobs.storage import Bucket, StorageError
from worker.making import making_of
from worker.network import BadStatus, FetchError, Unfinished, fetch_pieces
from worker.sources import MOST_REDIRECTS, Web, is_lasting

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
POSTGRES_AWAY_S = 2.0
CONNECTIONS_TO_BUCKET = 10
MANIFEST_DEADLINE_S = 3600.0
# 30 s, 1 min, 2 min ... together some 5 h.
FIRST_REST_S, LONGEST_REST_S, MOST_TRIES = 30.0, 3600.0, 12
# For want of room: an ingest that rests takes a twentieth of a process at most.
FIRST_ROOM_REST_S, RESTS_TIMES = 5.0, 20.0


class _StoppingError(Exception):
    """This process is to end; another goes on from the last chunk."""


class Ingester:
    """One process, one request at a time. Killed anywhere, the next one goes on where it was."""

    def __init__(self, known: Settings, engine: Engine, bucket: Bucket) -> None:
        self._settings = known
        self._engine = engine
        self._bucket = bucket
        self._web = Web(known)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Make run() return after the present chunk."""
        self._stopping.set()

    def run(self) -> None:
        """Carry requests out until stopped."""
        while not self._stopping.is_set():
            try:
                if not self.serve():
                    self._stopping.wait(LOOK_EVERY_S)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("Postgres is away (%s), trying again", kind_of(error))
                self._stopping.wait(POSTGRES_AWAY_S)

    def serve(self) -> bool:
        """Carry out the first request that is due; False if there is none."""
        with self._engine.connect() as connection, next_request(connection) as request:
            if request is None:
                return False
            with logs.about(batch_id=str(request.batch_id)):
                self._carry_out(connection, request)
        return True

    def _carry_out(self, connection: Connection, request: Request) -> None:
        batch_id = request.batch_id
        began = time.monotonic()
        try:
            # Before its source is opened, which may be large.
            Room(request.order.producer_id).look(connection)
            self._ingest(connection, request)
        except _StoppingError:
            log.info("the ingest of batch %s is left to the next", batch_id)
        except NoRoomError as error:
            self._rest_for_room(connection, request, error, time.monotonic() - began)
        except StrictError as error:
            self._fail(connection, request, f"stopped, since nothing was to be rejected, at {error}")
        except (IngestError, ManifestError) as error:
            self._fail(connection, request, str(error))
        except (StorageError, FetchError) as error:
            why = f"the source cannot be read: {error}"
            if _may_pass(error):
                self._rest(connection, request, why)
            else:
                self._fail(connection, request, why)
        except Exception as error:
            if is_away(error):
                raise
            # It must not stand in the way of the others for ever.
            log.exception("the ingest of batch %s met an error that nobody expected", batch_id)
            self._rest(connection, request, f"an error that nobody expected ({type(error).__name__})")

    def _rest_for_room(
        self, connection: Connection, request: Request, why: NoRoomError, took_s: float
    ) -> None:
        """What was stored is read again first: the longer that takes, the longer it rests."""
        rest_s = min(max(FIRST_ROOM_REST_S, took_s * RESTS_TIMES), LONGEST_REST_S)
        log.info("the ingest of batch %s rests for %.0f s: %s", request.batch_id, rest_s, why)
        rest_for_room(connection, request.batch_id, rest_s, why.code, str(why))

    def _rest(self, connection: Connection, request: Request, why: str) -> None:
        if request.tries + 1 >= MOST_TRIES:
            self._fail(connection, request, why)
            return
        rest_s = min(FIRST_REST_S * 2**request.tries, LONGEST_REST_S)
        log.warning("the ingest of batch %s rests for %.0f s: %s", request.batch_id, rest_s, why)
        rest_request(connection, request.batch_id, rest_s)

    def _fail(self, connection: Connection, request: Request, why: str) -> None:
        log.warning("the ingest of batch %s failed: %s", request.batch_id, why)
        fail_request(connection, request.batch_id, why)

    def _ingest(self, connection: Connection, request: Request) -> None:
        open_ = partial(self._open, request, self._find_manifest(connection, request))
        if request.order.schedule_id:
            memory = Memory(self._engine, request.order.schedule_id, request.batch_id)
            refuse_shrunk(open_, memory, request.order.shrinks_to)
        with closing(open_()) as source, tempfile.TemporaryDirectory() as room:
            with RejectsFile(Path(room) / "rejects.csv") as rejects:
                ingest = Ingest(
                    self._engine,
                    self._bucket,
                    source,
                    request.order,
                    rejects,
                    requested=request.batch_id,
                )
                reuse = request.order.reuse and self._settings.reuse
                making = making_of(self._settings) if reuse else None
                plan = partial(plan_batch, making=making, bucket=self._bucket)
                done = ingest.run(
                    on_resume=_say_it_goes_on, watch=self._watch, at_end=plan if request.order.plan else None
                )
            log.info("batch %s has %d jobs, %s", request.batch_id, done.counts.jobs, source.kind)

    def _find_manifest(self, connection: Connection, request: Request) -> str | None:
        """The key of the manifest in the bucket; None where the source is something else."""
        if request.manifest_key or not request.source.lower().startswith(("https://", "http://")):
            return request.manifest_key
        return self._download(connection, request)

    def _open(self, request: Request, key: str | None) -> Source:
        reading = request.order.reading
        if key is None:
            return open_source(request.source, reading, self._settings, self._bucket)
        return open_object(self._bucket, self._bucket.describe(key), reading, self._settings)

    def _download(self, connection: Connection, request: Request) -> str:
        """Into the bucket first: what is read twice must be the same twice."""
        key = f"manifests/{request.batch_id}"
        pieces = fetch_pieces(
            self._web.transport,
            request.source,
            max_bytes=self._settings.max_manifest_bytes,
            deadline_s=MANIFEST_DEADLINE_S,
            max_redirects=MOST_REDIRECTS,
            check_url=self._web.check,
        )
        with closing(pieces):
            self._bucket.put_pieces(pieces, key=key, media_type="application/octet-stream")
        keep_manifest(connection, request.batch_id, key)
        return key

    def _watch(self, _progress: Progress) -> None:
        if self._stopping.is_set():
            raise _StoppingError


def _may_pass(error: Exception) -> bool:
    if isinstance(error, BadStatus):
        return not is_lasting(error.status)
    return isinstance(error, StorageError | Unfinished)


def _say_it_goes_on(batch_id: object, _counts: object) -> None:
    log.info("the ingest of batch %s goes on where it stopped", batch_id)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    known = settings()
    logs.configure(known)
    serve_metrics(known.metrics_address)
    # One holds the request, one stores its jobs, one looks at what is remembered, one has made ids.
    engine = connect(known.database_url.get_secret_value(), connections=4, name="cutout-ingester")
    bucket = Bucket(known, connections=CONNECTIONS_TO_BUCKET)
    ingester = Ingester(known, engine, bucket)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        ingester.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    ingester.run()


if __name__ == "__main__":
    main()
