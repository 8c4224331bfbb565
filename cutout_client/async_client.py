"""The client of asyncio: one line for each call, which `cutout_client/calls/` describes."""

from types import TracebackType
from typing import Self

import httpx

from cutout_client.async_transport import AsyncIteration, AsyncMethod, AsyncResource, AsyncTransport
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
from cutout_client.transport import TIMEOUT_S, Connection


class AsyncJobs(AsyncResource):
    """Jobs: one picture each."""

    enqueue = AsyncMethod(jobs.enqueue)
    get = AsyncMethod(jobs.get)
    list = AsyncIteration(jobs.listed)
    wait = AsyncMethod(jobs.wait)
    explanation = AsyncMethod(jobs.explanation)
    cancel = AsyncMethod(jobs.cancel)
    retry = AsyncMethod(jobs.retry)
    release = AsyncMethod(jobs.release)
    accept = AsyncMethod(jobs.accept)
    retry_outputs = AsyncMethod(jobs.retry_outputs)
    delete = AsyncMethod(jobs.delete)
    download = AsyncMethod(jobs.download)
    download_bought = AsyncMethod(jobs.download_bought)
    download_unexpected = AsyncMethod(jobs.download_unexpected)


class AsyncBatches(AsyncResource):
    """Batches: many pictures together, as a list or as a manifest."""

    create = AsyncMethod(batches.create)
    create_from_url = AsyncMethod(batches.create_from_url)
    create_from_file = AsyncMethod(batches.create_from_file)
    get = AsyncMethod(batches.get)
    list = AsyncIteration(batches.listed)
    wait = AsyncMethod(batches.wait)
    events = AsyncIteration(batch_events.events)
    results = AsyncIteration(batches.results)
    download_results = AsyncMethod(batches.download_results)
    download_rejects = AsyncMethod(batches.download_rejects)
    patch = AsyncMethod(batches.patch)
    approve = AsyncMethod(batches.approve)
    cancel = AsyncMethod(batches.cancel)
    retry = AsyncMethod(batches.retry)
    pause = AsyncMethod(batches.pause)
    resume = AsyncMethod(batches.resume)
    add_outputs = AsyncMethod(batches.add_outputs)
    retry_outputs = AsyncMethod(batches.retry_outputs)
    delete = AsyncMethod(batches.delete)
    actions = AsyncIteration(batches.actions)


class AsyncSchedules(AsyncResource):
    """Schedules: batches of a manifest that repeat."""

    create = AsyncMethod(schedules.create)
    get = AsyncMethod(schedules.get)
    list = AsyncIteration(schedules.listed)
    patch = AsyncMethod(schedules.patch)
    delete = AsyncMethod(schedules.delete)
    pause = AsyncMethod(schedules.pause)
    resume = AsyncMethod(schedules.resume)
    skip = AsyncMethod(schedules.skip)
    restore = AsyncMethod(schedules.restore)
    run = AsyncMethod(schedules.run)
    next = AsyncIteration(schedules.coming)
    runs = AsyncIteration(schedules.runs)
    wait = AsyncMethod(schedules.wait)
    download_report = AsyncMethod(schedules.download_report)


class AsyncEndpoints(AsyncResource):
    """Webhook endpoints: servers of yours that receive messages."""

    create = AsyncMethod(endpoints.create)
    get = AsyncMethod(endpoints.get)
    list = AsyncIteration(endpoints.listed)
    patch = AsyncMethod(endpoints.patch)
    delete = AsyncMethod(endpoints.delete)
    test = AsyncMethod(endpoints.send_test)
    rotate_secret = AsyncMethod(endpoints.rotate_secret)


class AsyncDeliveries(AsyncResource):
    """Deliveries: messages to your servers."""

    list = AsyncIteration(deliveries.listed)
    replay = AsyncMethod(deliveries.replay)


class AsyncClient(AsyncResource):
    """Client of a producer for the API. Tasks of one event loop may share it.

    Close it, or use it in an `async with`.

    Each call may be made again after any error; nothing is done twice.
    """

    def __init__(
        self, url: str, key: str, *, retries: Retries | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        connection = Connection(url, key, retries or Retries(), timeout_s)
        super().__init__(AsyncTransport(connection, httpx.create_ssl_context()))
        self.jobs = AsyncJobs(self.transport)
        self.batches = AsyncBatches(self.transport)
        self.schedules = AsyncSchedules(self.transport)
        self.endpoints = AsyncEndpoints(self.transport)
        self.deliveries = AsyncDeliveries(self.transport)

    whoami = AsyncMethod(account.whoami)
    actions = AsyncIteration(account.actions)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
