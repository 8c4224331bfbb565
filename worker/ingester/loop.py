"""Ingester loop: claims requested manifests and other sources and reads them into batches. Any number may
run.
"""

import logging
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from cutout.ingest.pending import PendingIngest, fail_request, find_ended, next_request, release
from cutout.ingest.stop import Stop
from cutout.models import NOBODY
from cutout.models.database import is_away, kind_of
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry import logs
from cutout.telemetry.loops import WatchedLoop, watched
from worker.ingester import metrics
from worker.ingester.child_process import read_in_child
from worker.ingester.fair_slots import FairSlots
from worker.ingester.reader import Reader, Work

log = logging.getLogger(__name__)

LOOP = "ingester"
# It claims and starts requests; threads of their own read them.
TURN_WITHIN_S = 60.0
POLL_EVERY_S = 0.5
RECONNECT_AFTER_S = 2.0
CONNECTIONS_TO_BUCKET = 40
READ_AT_ONCE, FETCHED_AT_ONCE = 4, 8
# Per request that is read: one holds it, one stores its jobs, one reads picture versions, one has its final
# ids. Per request that is fetched: one holds it. One more claims requests.
CONNECTIONS = 4 * READ_AT_ONCE + FETCHED_AT_ONCE + 1
# Requests that have not stopped by then are left as if this process had been killed.
STOP_WITHIN_S = 4.0
MOST_DEATHS = 3
SOURCE_KILLS_INGESTER = "SOURCE_KILLS_INGESTER"


@dataclass(frozen=True, slots=True)
class _Lane:
    """Requests of one kind: to be fetched, or to be read."""

    to_fetch: bool
    slots: FairSlots
    work: Work


@dataclass(frozen=True, slots=True)
class _Held:
    """A request that a thread of this process carries out."""

    request: PendingIngest
    stop: Stop


class Ingester:
    """One process, several requests at a time, a few of each producer. After a kill, another process resumes
    them.
    """

    def __init__(
        self, settings: Settings, engine: Engine, bucket: Bucket, *, reader: Reader | None = None
    ) -> None:
        """`engine` must provide CONNECTIONS connections. `reader` defaults to one for these settings."""
        self._engine = engine
        self._reader = reader or Reader(settings, engine, bucket)
        self._stopping = threading.Event()
        self._lanes = (
            _Lane(to_fetch=False, slots=FairSlots(READ_AT_ONCE), work=self._reader.read),
            _Lane(to_fetch=True, slots=FairSlots(FETCHED_AT_ONCE), work=self._reader.fetch),
        )
        self._lock = threading.Lock()
        self._held: dict[uuid.UUID, _Held] = {}
        self._threads: set[threading.Thread] = set()
        # Requests whose reading ended because Postgres was unreachable: no death may be counted.
        self._to_release: dict[uuid.UUID, int] = {}

    def stop(self) -> None:
        """Make run() return within a few seconds."""
        self._stopping.set()

    def run(self) -> bool:
        """Carry out requests until stopped; return whether all of them have ended by then."""
        with watched(WatchedLoop(LOOP, TURN_WITHIN_S)) as loop:
            self._start_requests(loop)
        return self._end()

    def _start_requests(self, loop: WatchedLoop) -> None:
        while not self._stopping.is_set():
            loop.turn()
            try:
                started = [self._start_next(lane) for lane in self._lanes]
                self._check_held()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("Postgres is unreachable (%s), trying again", kind_of(error))
                self._stopping.wait(RECONNECT_AFTER_S)
                continue
            if not any(started):
                self._stopping.wait(POLL_EVERY_S)

    def serve(self) -> bool:
        """Carry out the next request on the caller's thread; return False if there is none."""
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
        """Claim and start a request; return whether there was one, and a free slot."""
        if not lane.slots.free:
            return False
        with ExitStack() as context:
            connection = context.enter_context(self._engine.connect())
            taking = next_request(connection, to_fetch=lane.to_fetch, full=lane.slots.full())
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
            lane.slots.take(request.asked_by)
            with self._lock:
                self._held[request.batch_id] = held
                self._threads.add(thread)
            thread.start()
        return True

    def _serve(self, lane: _Lane, connection: Connection, held: _Held, context: ExitStack) -> None:
        batch_id = held.request.batch_id
        try:
            # For as long as a source takes: only shown.
            own = WatchedLoop(threading.current_thread().name)
            with metrics.UNDER_WAY.track_inprogress(), watched(own), context:
                try:
                    self._carry_out(lane, connection, held.request, held.stop)
                finally:
                    self._free_slot(lane, held)
        except Exception as error:
            if is_away(error):
                log.warning("Postgres is unreachable (%s), batch %s is read later", kind_of(error), batch_id)
                with self._lock:
                    self._to_release[batch_id] = held.request.deaths
            else:
                log.exception("unexpected error in the reader of batch %s", batch_id)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _free_slot(self, lane: _Lane, held: _Held) -> None:
        """Called before the lock ends, because the next process may claim the request at once."""
        lane.slots.give_back(held.request.asked_by)
        with self._lock:
            del self._held[held.request.batch_id]

    def _carry_out(self, lane: _Lane, connection: Connection, request: PendingIngest, stop: Stop) -> None:
        ids = {} if request.asked_by == NOBODY else {"producer_id": str(request.asked_by)}
        with logs.about(batch_id=str(request.batch_id), **ids):
            if request.deaths >= MOST_DEATHS:
                log.error(
                    "the ingest of batch %s ended %d readers and is given up",
                    request.batch_id,
                    request.deaths,
                )
                fail_request(
                    connection,
                    request.batch_id,
                    f"the process that read it ended {request.deaths} times at the same place;"
                    " save it again, as CSV or as a zip of fewer pictures",
                    SOURCE_KILLS_INGESTER,
                )
            elif request.deaths:
                # Another request may have ended the process: alone, this one ends no other.
                read_in_child(connection, request, stop)
            else:
                lane.work(connection, request, stop)

    def _check_held(self) -> None:
        """Stop requests that were cancelled, and release those that a Postgres outage ended."""
        with self._lock:
            held, to_release = dict(self._held), dict(self._to_release)
        if not held and not to_release:
            return
        with self._engine.connect() as connection:
            for batch_id in find_ended(connection, held):
                held[batch_id].stop.set()
            for batch_id, deaths in to_release.items():
                release(connection, batch_id, deaths)
                with self._lock:
                    del self._to_release[batch_id]

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
        log.warning(
            "%d ingests are left unfinished; another process resumes them from their last chunk", len(left)
        )
        try:
            with self._engine.connect() as connection:
                for each in left:
                    release(connection, each.request.batch_id, each.request.deaths)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable (%s): a death is counted for each of them", kind_of(error))
