"""What a worker process has at hand: its connections, its limiter, its identity and its heartbeat."""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TypeVar

import redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import accounts, workers
from jobs.database import connect, patiently
from jobs.settings import Settings
from jobs.storage import Bucket
from worker.endpoint.client import CALL_TIMEOUTS, EndpointClient
from worker.endpoint.limiter import Limiter
from worker.endpoint.result import ResultDownloader
from worker.network import HostList
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
        )
        self.bucket = Bucket(settings, connections=settings.worker_threads)
        self._result_hosts = HostList.parse(settings.result_hosts)
        self._threads = threading.local()
        self._stopping = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the worker and begin its heartbeat."""
        self.in_transaction(partial(accounts.ensure, name=self.account))
        self.worker_id = self.in_transaction(
            partial(workers.register, host=socket.gethostname(), pid=os.getpid())
        )
        self._heart.start()

    def stop(self) -> None:
        """End the heartbeat; what is still running is rescued once the silence is long enough."""
        self._stopping.set()
        self._heart.join()
        self.engine.dispose()

    def in_transaction(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction, patiently while Postgres is away."""
        return patiently(self.engine, work)

    @cached_property
    def limiter(self) -> Limiter:
        client = redis.Redis.from_url(
            self.settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        return Limiter(
            client,
            f"{self.settings.redis_prefix}limit:{self.account}",
            calls_per_second=self.settings.calls_per_second,
            calls_in_flight=self.settings.calls_in_flight,
            lease_s=self.settings.call_deadline_seconds,
        )

    @property
    def endpoint(self) -> EndpointClient:
        """This thread's client."""
        client: EndpointClient | None = getattr(self._threads, "endpoint", None)
        if client is None:
            timeouts = replace(CALL_TIMEOUTS, total=self.settings.call_deadline_seconds)
            client = EndpointClient(self.settings.endpoint_url, self.settings.endpoint_api_key, timeouts)
            self._threads.endpoint = client
        return client

    @property
    def results(self) -> ResultDownloader:
        """This thread's downloader of results."""
        downloader: ResultDownloader | None = getattr(self._threads, "results", None)
        if downloader is None:
            downloader = self._threads.results = ResultDownloader(self._result_hosts)
        return downloader

    @property
    def sources(self) -> SourceFetcher:
        """This thread's fetcher of sources."""
        fetcher: SourceFetcher | None = getattr(self._threads, "sources", None)
        if fetcher is None:
            fetcher = self._threads.sources = SourceFetcher(self.settings, self.bucket)
        return fetcher

    def _beat(self) -> None:
        pause = timedelta(seconds=self.settings.worker_silence_seconds / HEARTBEATS_WITHIN_SILENCE)
        while not self._stopping.wait(pause.total_seconds()):
            try:
                with Session(self.engine) as session, session.begin():
                    workers.beat(session, self.worker_id)
            except SQLAlchemyError as error:
                log.warning("no heartbeat: %s", type(error).__name__)
