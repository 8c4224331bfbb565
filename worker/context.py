"""What a worker process has at hand: its connections, its limiter, its identity and its heartbeat."""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import redis
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from jobs import accounts, workers
from jobs.database import connect, patiently
from jobs.settings import PLAIN_HTTP, Settings
from jobs.storage import Bucket
from worker.carried import Carried
from worker.endpoint.client import CALL_TIMEOUTS, EndpointClient
from worker.endpoint.limiter import Limiter
from worker.endpoint.result import ResultDownloader
from worker.network import HostList
from worker.objects import ObjectLinks
from worker.per_thread import PerThread
from worker.sources import SourceFetcher

log = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEATS_WITHIN_SILENCE = 6
# A thread holds a connection only for the length of one short transaction.
DATABASE_CONNECTIONS = 8
REDIS_TIMEOUT_S = 5


class WorkerContext:
    """One per process, shared by its threads; HTTP clients are one per thread."""

    worker_id: uuid.UUID

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.account = accounts.account_name(settings.endpoint_api_key)
        self.engine = connect(
            settings.database_url.get_secret_value(),
            connections=DATABASE_CONNECTIONS,
            name="cutout-worker",
            check_first=False,
            autocommit=True,
        )
        self.bucket = Bucket(settings, connections=settings.worker_threads)
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        self.limiter = self._make_limiter()
        self._endpoints = PerThread(self._make_endpoint)
        self._results = PerThread(self._make_downloader)
        self._objects = PerThread(lambda: ObjectLinks(self.bucket))
        self._sources = PerThread(lambda: SourceFetcher(settings, self.bucket, self.objects))
        self.carried = Carried()
        self._stopping = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Find the bucket (never buy what has no place), register the worker and begin its heartbeat."""
        self.bucket.require()
        self.patiently(partial(accounts.ensure, name=self.account))
        self.worker_id = self.patiently(partial(workers.register, host=socket.gethostname(), pid=os.getpid()))
        self._heart.start()

    def stop(self) -> None:
        """End the heartbeat; what is still running is rescued once the silence is long enough."""
        self._stopping.set()
        self._heart.join()
        self.engine.dispose()
        for connections in (
            self._endpoints,
            self._results,
            self._sources,
            self._objects,
            self.bucket,
            self._redis,
        ):
            connections.close()

    def patiently(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, again and again while Postgres is away. Each of its statements commits by itself."""
        return patiently(self.engine, work)

    @property
    def endpoint(self) -> EndpointClient:
        """This thread's client of the endpoint."""
        return self._endpoints.get()

    @property
    def results(self) -> ResultDownloader:
        """This thread's downloader of results."""
        return self._results.get()

    @property
    def objects(self) -> ObjectLinks:
        """This thread's way to the bucket's objects."""
        return self._objects.get()

    @property
    def sources(self) -> SourceFetcher:
        """This thread's fetcher of sources."""
        return self._sources.get()

    def _make_endpoint(self) -> EndpointClient:
        timeouts = replace(CALL_TIMEOUTS, total=self.settings.call_deadline_seconds)
        return EndpointClient(self.settings.endpoint_url, self.settings.endpoint_api_key, timeouts)

    def _make_downloader(self) -> ResultDownloader:
        entries = self.settings.result_hosts
        private = [entry.removeprefix(PLAIN_HTTP) for entry in entries if entry.startswith(PLAIN_HTTP)]
        public = [entry for entry in entries if not entry.startswith(PLAIN_HTTP)]
        return ResultDownloader(HostList.parse(public), private=HostList.parse(private))

    def _make_limiter(self) -> Limiter:
        return Limiter(
            self._redis,
            f"{self.settings.redis_prefix}limit:{self.account}",
            calls_per_second=self.settings.calls_per_second,
            calls_in_flight=self.settings.calls_in_flight,
            lease_s=self.settings.call_deadline_seconds,
        )

    def _beat(self) -> None:
        pause = timedelta(seconds=self.settings.worker_silence_seconds / HEARTBEATS_WITHIN_SILENCE)
        while not self._stopping.wait(pause.total_seconds()):
            try:
                with self.engine.connect() as connection:
                    workers.beat(connection, self.worker_id)
            except SQLAlchemyError as error:
                log.warning("no heartbeat: %s", type(error).__name__)
