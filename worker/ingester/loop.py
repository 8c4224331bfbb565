"""Reads requested manifests and other sources into their batches. Run as many as you like."""

import logging
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from cutout.ingest.pending import Request, ended_of, fail_request, next_request, put_down
from cutout.ingest.stop import Stop
from cutout.models.database import is_away, kind_of
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from worker.ingester.child_process import read_apart
from worker.ingester.fair_slots import Places
from worker.ingester.reader import Reader, Work

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
POSTGRES_AWAY_S = 2.0
CONNECTIONS_TO_BUCKET = 40
READ_AT_ONCE, FETCHED_AT_ONCE = 4, 8
# Of each that is read: one holds the request, one stores its jobs, one looks at what is remembered, one has
# made ids. One holds each that is fetched, and one looks for more.
CONNECTIONS = 4 * READ_AT_ONCE + FETCHED_AT_ONCE + 1
# What has not stopped by then is left as if this process had been killed.
STOP_WITHIN_S = 4.0
MOST_DEATHS = 3
SOURCE_KILLS_INGESTER = "SOURCE_KILLS_INGESTER"


@dataclass(frozen=True, slots=True)
class _Lane:
    """Requests that wait for the same: to be fetched, or to be read."""

    to_fetch: bool
    places: Places
    work: Work


@dataclass(frozen=True, slots=True)
class _Held:
    """A request that a thread of this process is at."""

    request: Request
    stop: Stop


class Ingester:
    """One process, several requests at a time, a few of each producer. Killed anywhere, another goes on."""

    def __init__(
        self, known: Settings, engine: Engine, bucket: Bucket, *, reader: Reader | None = None
    ) -> None:
        """`engine` gives CONNECTIONS at a time. `reader` is one for these settings if it is not given."""
        self._engine = engine
        self._reader = reader or Reader(known, engine, bucket)
        self._stopping = threading.Event()
        self._lanes = (
            _Lane(to_fetch=False, places=Places(READ_AT_ONCE), work=self._reader.read),
            _Lane(to_fetch=True, places=Places(FETCHED_AT_ONCE), work=self._reader.fetch),
        )
        self._lock = threading.Lock()
        self._held: dict[uuid.UUID, _Held] = {}
        self._threads: set[threading.Thread] = set()
        # Their reading ended with Postgres, which is no fault of theirs.
        self._owed: dict[uuid.UUID, int] = {}

    def stop(self) -> None:
        """Make run() return within some seconds."""
        self._stopping.set()

    def run(self) -> bool:
        """Carry requests out until stopped; returns whether all of them have ended by then."""
        while not self._stopping.is_set():
            try:
                started = [self._start_next(lane) for lane in self._lanes]
                self._look_after()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("Postgres is away (%s), trying again", kind_of(error))
                self._stopping.wait(POSTGRES_AWAY_S)
                continue
            if not any(started):
                self._stopping.wait(LOOK_EVERY_S)
        return self._end()

    def serve(self) -> bool:
        """Carry out the request whose turn it is, by the caller's thread; False if there is none."""
        served = False
        for lane in reversed(self._lanes):
            with (
                self._engine.connect() as connection,
                next_request(connection, to_fetch=lane.to_fetch) as request,
            ):
                if request is not None:
                    self._carry_out(lane, connection, request, Stop())
                    served = True
        return served

    def _start_next(self, lane: _Lane) -> bool:
        """Whether there was one to be taken up, and a place for it."""
        if not lane.places.free:
            return False
        with ExitStack() as context:
            connection = context.enter_context(self._engine.connect())
            taking = next_request(connection, to_fetch=lane.to_fetch, full=lane.places.full())
            request = context.enter_context(taking)
            if request is None:
                return False
            held = _Held(request, Stop())
            thread = threading.Thread(
                target=self._serve,
                args=(lane, connection, held, context.pop_all()),
                name=f"ingest {request.batch_id}",
                daemon=True,
            )
            lane.places.take(request.asked_by)
            with self._lock:
                self._held[request.batch_id] = held
                self._threads.add(thread)
            thread.start()
        return True

    def _serve(self, lane: _Lane, connection: Connection, held: _Held, context: ExitStack) -> None:
        batch_id = held.request.batch_id
        try:
            with context:
                try:
                    self._carry_out(lane, connection, held.request, held.stop)
                finally:
                    self._let_go(lane, held)
        except Exception as error:
            if is_away(error):
                log.warning("Postgres is away (%s), batch %s is read later", kind_of(error), batch_id)
                with self._lock:
                    self._owed[batch_id] = held.request.deaths
            else:
                log.exception("the reader of batch %s met an error that nobody expected", batch_id)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _let_go(self, lane: _Lane, held: _Held) -> None:
        """Before its lock goes: the next one may take it up at once."""
        lane.places.give_back(held.request.asked_by)
        with self._lock:
            del self._held[held.request.batch_id]

    def _carry_out(self, lane: _Lane, connection: Connection, request: Request, stop: Stop) -> None:
        with logs.about(batch_id=str(request.batch_id)):
            if request.deaths >= MOST_DEATHS:
                log.error("batch %s has ended %d readers and is given up", request.batch_id, request.deaths)
                fail_request(
                    connection,
                    request.batch_id,
                    f"reading it has ended the process that read it {request.deaths} times at the same place;"
                    " save it anew, as CSV or as a zip of fewer pictures",
                    SOURCE_KILLS_INGESTER,
                )
            elif request.deaths:
                # It may have been the others' neighbour: by itself it ends nobody else.
                read_apart(connection, request, stop)
            else:
                lane.work(connection, request, stop)

    def _look_after(self) -> None:
        """Stop what was cancelled, and let others go on with what Postgres ended."""
        with self._lock:
            held, owed = dict(self._held), dict(self._owed)
        if not held and not owed:
            return
        with self._engine.connect() as connection:
            for batch_id in ended_of(connection, held):
                held[batch_id].stop.set()
            for batch_id, deaths in owed.items():
                put_down(connection, batch_id, deaths)
                with self._lock:
                    del self._owed[batch_id]

    def _end(self) -> bool:
        ends_at = time.monotonic() + STOP_WITHIN_S
        with self._lock:
            held, threads = list(self._held.values()), list(self._threads)
        for each in held:
            each.stop.set()
        for thread in threads:
            thread.join(max(0.0, ends_at - time.monotonic()))
        with self._lock:
            left = list(self._held.values())
        if left:
            self._leave(left)
        return not left

    def _leave(self, left: list[_Held]) -> None:
        log.warning("%d ingests are left in the middle; another goes on from their last chunk", len(left))
        try:
            with self._engine.connect() as connection:
                for each in left:
                    put_down(connection, each.request.batch_id, each.request.deaths)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is away (%s): this counts as a death of their reader", kind_of(error))
