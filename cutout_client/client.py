"""The client that blocks: one line for each call, which `cutout_client/calls/` describes."""

from types import TracebackType
from typing import Self

import httpx

from cutout_client.calls import (
    account,
    batch_events,
    batches,
    deliveries,
    endpoints,
    jobs,
    schedules,
)
from cutout_client.retries import Retries
from cutout_client.sync_transport import Iteration, Method, Resource, SyncTransport
from cutout_client.transport import TIMEOUT_S, Connection


class Jobs(Resource):
    """Jobs: one picture each."""

    enqueue = Method(jobs.enqueue)
    get = Method(jobs.get)
    list = Iteration(jobs.listed)
    wait = Method(jobs.wait)
    explanation = Method(jobs.explanation)
    cancel = Method(jobs.cancel)
    retry = Method(jobs.retry)
    release = Method(jobs.release)
    accept = Method(jobs.accept)
    retry_outputs = Method(jobs.retry_outputs)
    delete = Method(jobs.delete)
    download = Method(jobs.download)
    download_bought = Method(jobs.download_bought)
    download_unexpected = Method(jobs.download_unexpected)


class Batches(Resource):
    """Batches: many pictures together, as a list or as a manifest."""

    create = Method(batches.create)
    create_from_url = Method(batches.create_from_url)
    create_from_file = Method(batches.create_from_file)
    get = Method(batches.get)
    list = Iteration(batches.listed)
    wait = Method(batches.wait)
    events = Iteration(batch_events.events)
    results = Iteration(batches.results)
    download_results = Method(batches.download_results)
    download_rejects = Method(batches.download_rejects)
    patch = Method(batches.patch)
    approve = Method(batches.approve)
    cancel = Method(batches.cancel)
    retry = Method(batches.retry)
    pause = Method(batches.pause)
    resume = Method(batches.resume)
    add_outputs = Method(batches.add_outputs)
    retry_outputs = Method(batches.retry_outputs)
    delete = Method(batches.delete)
    actions = Iteration(batches.actions)


class Schedules(Resource):
    """Schedules: batches of a manifest that repeat."""

    create = Method(schedules.create)
    get = Method(schedules.get)
    list = Iteration(schedules.listed)
    patch = Method(schedules.patch)
    delete = Method(schedules.delete)
    pause = Method(schedules.pause)
    resume = Method(schedules.resume)
    skip = Method(schedules.skip)
    restore = Method(schedules.restore)
    run = Method(schedules.run)
    next = Iteration(schedules.coming)
    runs = Iteration(schedules.runs)
    wait = Method(schedules.wait)
    download_report = Method(schedules.download_report)


class Endpoints(Resource):
    """Webhook endpoints: servers of yours that receive messages."""

    create = Method(endpoints.create)
    get = Method(endpoints.get)
    list = Iteration(endpoints.listed)
    patch = Method(endpoints.patch)
    delete = Method(endpoints.delete)
    test = Method(endpoints.send_test)
    rotate_secret = Method(endpoints.rotate_secret)


class Deliveries(Resource):
    """Deliveries: messages to your servers."""

    list = Iteration(deliveries.listed)
    replay = Method(deliveries.replay)


class Client(Resource):
    """Client of a producer for the API. Threads may share it. Close it, or use it in a `with`.

    Each call may be made again after any error; nothing is done twice.
    """

    def __init__(
        self, url: str, key: str, *, retries: Retries | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        connection = Connection(url, key, retries or Retries(), timeout_s)
        super().__init__(SyncTransport(connection, httpx.create_ssl_context()))
        self.jobs = Jobs(self.transport)
        self.batches = Batches(self.transport)
        self.schedules = Schedules(self.transport)
        self.endpoints = Endpoints(self.transport)
        self.deliveries = Deliveries(self.transport)

    whoami = Method(account.whoami)
    actions = Iteration(account.actions)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
