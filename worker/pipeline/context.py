"""The state that the threads of one worker process share: connections, limiter, identity and heartbeat."""

import logging
import os
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import redis
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from cutout.endpoint.client import CALL_TIMEOUTS
from cutout.endpoint.result import ResultDownloader
from cutout.endpoint.verdicts import Policies
from cutout.images.decoder_pool import Preparer
from cutout.models.database import PostgresAwayError, connect, kind_of, patiently
from cutout.network import HostList, Timeouts
from cutout.queue import workers
from cutout.queue.reuse.identity import Recipe, scope_of
from cutout.queue.reuse.recipe import recipe_of
from cutout.queue.signals import SignalSender
from cutout.settings import PLAIN_HTTP, Settings
from cutout.storage import Bucket, BucketMissingError, StorageError, StorageRefusedError
from cutout.telemetry.loops import WatchedLoop, watched
from worker.lifeboat import Lifeboat, open_lifeboat, sweep
from worker.limiter.slots import Slots
from worker.metrics import IN_HAND, SPOOL_BYTES, SPOOL_FILES, SPOOL_OLDEST, THREADS
from worker.per_thread import PerThread
from worker.pipeline.bucket_watch import BucketWatch
from worker.pipeline.exclusive import Room
from worker.pipeline.in_flight import InFlightJobs
from worker.pipeline.intake import Intake
from worker.pipeline.listed_cutouts import ListedCutouts
from worker.pipeline.sources import HostTurns, SourceFetcher
from worker.pipeline.spool import Spool
from worker.pipeline.store import Store
from worker.signed_objects import SignedObjectClient
from worker.storage_probe import bucket_works

log = logging.getLogger(__name__)

LOOP = "heartbeat"
BEAT_WITHIN_S = 60.0
HEARTBEATS_WITHIN_SILENCE = 6
# An answer that Postgres has not taken for so long is put on disk; others read there with each heartbeat.
TAKEN_WITHIN_S = 1.0
SPOOL_SLOW_EVERY_S = 0.5
# A thread holds a connection only for the length of one short transaction.
DATABASE_CONNECTIONS = 8
# A row that a person or a chunk of an ingest keeps locked: the statement is repeated, and its connection
# serves others meanwhile. Shorter than a call waits to begin (BEGIN_PATIENCE_S).
LOCK_PATIENCE = {"lock_timeout": "2s"}
REDIS_TIMEOUT_S = 5
# Requests for single objects by all messages of jobs that are served.
CHECKS_AT_ONCE = 8
# The last message is a courtesy: without it, silence says the same a little later.
LEAVE_WITHIN_S = 3.0


class WorkerContext:
    """The shared state of one worker process. HTTP clients are one per thread.

    Once `stopping` is set, no job is begun: jobs are handed back, and jobs that were begun are finished.
    """

    worker_id: uuid.UUID
    _identity: workers.Identity

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self.engine = _connect(settings, DATABASE_CONNECTIONS)
        self.store = Store(self.engine, self.stopping)
        # For the heartbeat alone: however long the threads wait for Postgres, this worker must not seem dead.
        self._heartbeat_engine = _connect(settings, 1)
        self.bucket = Bucket(settings, connections=settings.worker_threads)
        self.recipe = recipe_of(settings)
        self.intake = Intake()
        self.bucket_watch = BucketWatch(lambda: bucket_works(self.bucket), self.store, self.intake)
        self.lifeboat: Lifeboat | None = open_lifeboat(settings)
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        self.signals = SignalSender(settings)
        self.slots = Slots(settings, self._redis, _call_timeouts(settings), self.store.run)
        self.policies = Policies({code: what.model_dump() for code, what in settings.verdicts.items()})
        self._results = PerThread(self._make_downloader)
        self._objects = PerThread(lambda: SignedObjectClient(self.bucket))
        self.listed = ListedCutouts(self.bucket)
        self.checks = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="check")
        self.hosts = hosts = HostTurns(settings.source_fetches_per_host)
        # Most of a worker's threads are for others, however slow the servers are that a message asks.
        self.asking = HostTurns(max(settings.worker_threads // 4, 1))
        watch = self.bucket_watch
        self._sources = PerThread(lambda: SourceFetcher(settings, self.bucket, self.objects, hosts, watch))
        self.in_flight = InFlightJobs()
        self.room = Room()
        self.preparer = Preparer(settings.prepare_memory_bytes)
        self.spool = Spool(Path(settings.spool_dir))
        self._ended = threading.Event()
        self._last_beat = 0
        self._heartbeat = threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True)
        self._spooler = threading.Thread(target=self._spool_slow, name="slow answers", daemon=True)
        self._replayer = threading.Thread(target=self._replay, name="spool", daemon=True)

    def recipe_for(self, producer_id: uuid.UUID | None) -> Recipe:
        """The recipe of a producer's cutouts: their identity without source and form."""
        return replace(self.recipe, scope=scope_of(self.settings.reuse, producer_id))

    def start(self, *, call_threads: int | None = None) -> None:
        """Write to Postgres what an earlier worker left in the spool, register, and start the heartbeat.

        `call_threads` is how many calls this worker can make at once, by default its number of threads.

        Raises BucketMissingError or StorageRefusedError: a cutout must not be bought that cannot be stored.
        While the bucket is only unreachable, this worker makes no calls; paid results may have to be saved.
        """
        self.spool.check()
        self.store.run(self.spool.replay)
        problem = self._bucket_problem()
        for name in self.slots.names:
            self.store.ensure_account(name)
        host, pid = socket.gethostname(), os.getpid()
        threads = self.settings.worker_threads if call_threads is None else call_threads
        self.worker_id = self.store.register(host=host, pid=pid, call_threads=threads)
        self._identity = workers.Identity(self.worker_id, host, pid, threads)
        self._heartbeat.start()
        self._replayer.start()
        self._spooler.start()
        self.bucket_watch.start(self.worker_id, problem)
        IN_HAND.set_function(lambda: len(self.in_flight))
        SPOOL_FILES.set_function(lambda: self.spool.usage().files)
        SPOOL_BYTES.set_function(lambda: self.spool.usage().size_bytes)
        SPOOL_OLDEST.set_function(lambda: self.spool.usage().oldest)
        THREADS.set(self.settings.worker_threads)
        if self.lifeboat:
            sweep(self.lifeboat, self.engine)

    def stop(self) -> None:
        """Leave, so that jobs still claimed are rescued at once, and close. No job may be in flight."""
        self.stopping.set()
        self._ended.set()
        self.bucket_watch.stop()
        for thread in (self._heartbeat, self._replayer):
            thread.join(LEAVE_WITHIN_S)
        # A connection that a thread still has would stay open.
        self.engine.dispose()
        self._heartbeat_engine.dispose()
        self.checks.shutdown()
        for connections in (
            self.preparer,
            self.slots,
            self._results,
            self._sources,
            self._objects,
            self.bucket,
            self._redis,
            self.signals,
        ):
            connections.close()
        if self.lifeboat:
            self.lifeboat.close()

    def beat(self, database: Connection) -> None:
        """Write one heartbeat with the jobs of this worker: in flight, or with an answer not in Postgres yet.

        They are listed at the last moment, and after the previous heartbeat was written.
        """
        jobs = self.in_flight.now() | self.spool.unwritten()
        self._last_beat = workers.beat(database, self._identity, jobs, last=self._last_beat)

    def _bucket_problem(self) -> str:
        """The reason why the bucket cannot be reached; empty if it can."""
        try:
            self.bucket.require()
        except (BucketMissingError, StorageRefusedError):
            raise
        except StorageError as error:
            return str(error)
        return ""

    @property
    def results(self) -> ResultDownloader:
        """This thread's downloader of results."""
        return self._results.get()

    @property
    def objects(self) -> SignedObjectClient:
        """This thread's client for the bucket's objects."""
        return self._objects.get()

    @property
    def sources(self) -> SourceFetcher:
        """This thread's fetcher of sources."""
        return self._sources.get()

    def _make_downloader(self) -> ResultDownloader:
        entries = self.settings.result_hosts
        private = [entry.removeprefix(PLAIN_HTTP) for entry in entries if entry.startswith(PLAIN_HTTP)]
        public = [entry for entry in entries if not entry.startswith(PLAIN_HTTP)]
        spool = Path(self.settings.spool_dir)
        return ResultDownloader(
            HostList.parse(public),
            private=HostList.parse(private),
            directory=spool,
            proxy=self.settings.egress,
        )

    def _send_heartbeats(self) -> None:
        # It may be set to longer pauses than usual.
        with watched(WatchedLoop(LOOP, BEAT_WITHIN_S + self._pause_s)) as loop:
            self._beat_until_ended(loop)
        self._leave()

    def _beat_until_ended(self, loop: WatchedLoop) -> None:
        while not self._ended.wait(self._pause_s):
            loop.turn()
            try:
                with self._heartbeat_engine.connect() as connection:
                    self.beat(connection)
            except SQLAlchemyError as error:
                log.warning("no heartbeat: %s", kind_of(error))
            except Exception:
                # Without heartbeats a living worker looks dead.
                log.exception("unexpected error in the heartbeat")

    def _spool_slow(self) -> None:
        """Put answers on disk that Postgres does not take, without waiting for it or for any thread."""
        while not self._ended.wait(SPOOL_SLOW_EVERY_S):
            try:
                self.spool.keep_slow(after_s=TAKEN_WITHIN_S)
            except Exception:
                log.exception("unexpected error in the spool of slow answers")

    def _replay(self) -> None:
        """Write the spool to Postgres: a worker that had to stop without Postgres may share it."""
        while not self._ended.wait(self._pause_s):
            try:
                with self.engine.connect() as connection:
                    self.spool.replay(connection)
            except SQLAlchemyError as error:
                log.warning("the spool is not written to Postgres: %s", kind_of(error))
            except Exception:
                log.exception("unexpected error in the replay of the spool")

    @property
    def _pause_s(self) -> float:
        return self.settings.worker_silence_seconds / HEARTBEATS_WITHIN_SILENCE

    def _leave(self) -> None:
        def leave(connection: Connection) -> None:
            # First: a job that is rescued while its paid result waits in the spool is called again.
            self.spool.replay(connection)
            workers.leave(connection, self.worker_id)

        try:
            patiently(self._heartbeat_engine, leave, give_up_after_s=LEAVE_WITHIN_S, stopping=self.stopping)
        except (PostgresAwayError, SQLAlchemyError) as error:
            log.warning("Postgres does not know that this worker stops: %s", type(error).__name__)


def _connect(settings: Settings, connections: int) -> Engine:
    return connect(
        settings.database_url.get_secret_value(),
        connections=connections,
        name="cutout-worker",
        check_first=False,
        autocommit=True,
        server_settings=LOCK_PATIENCE,
    )


def _call_timeouts(settings: Settings) -> Timeouts:
    deadline = settings.call_deadline_seconds
    return replace(CALL_TIMEOUTS, total=deadline, read=max(deadline, CALL_TIMEOUTS.read))
