"""The transport of asyncio, and the descriptors that make methods of flows with it."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, aclosing
from dataclasses import replace
from functools import update_wrapper
from typing import Any, BinaryIO, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from cutout_client.http_request import PIECE_BYTES, FileBody, Request
from cutout_client.steps import Answer, Close, Flow, Item, Items, Read, Send, Sleep, Step, Try, Work, whole
from cutout_client.transport import UNREADABLE, Connection, SentFile, WholeBody, is_link, unreadable

P = ParamSpec("P")
T = TypeVar("T")
Streams = set[httpx.Response]


class AsyncTransport:
    """A transport that carries out the steps of flows. Tasks of one event loop may share it."""

    def __init__(self, connection: Connection, certificates: ssl.SSLContext) -> None:
        self._connection = connection
        self._api = httpx.AsyncClient(
            base_url=connection.url, headers=connection.headers(), verify=certificates
        )
        self._links = httpx.AsyncHTTPTransport(verify=certificates)

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow; returns its value."""
        (value,) = [item async for item in self.iterate(whole(flow))]
        return value

    async def iterate(self, flow: Items[T]) -> AsyncGenerator[T, None]:
        """Carry out an iteration while its items are taken."""
        streams: Streams = set()
        try:
            async with aclosing(self._drive(flow, streams)) as items:
                async for item in items:
                    yield item
        finally:
            for stream in streams:
                await stream.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.aclose()
        await self._links.aclose()

    async def _drive(self, flow: Items[T], streams: Streams) -> AsyncGenerator[T, None]:
        done: Any = None
        failed: Exception | None = None
        try:
            while True:
                step = flow.send(done) if failed is None else flow.throw(failed)
                done, failed = None, None
                if isinstance(step, Item):
                    yield step.value
                    continue
                try:
                    done = await self._perform(step, streams)
                except UNREADABLE as error:
                    failed = unreadable(error)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    failed = error
        except StopIteration:
            return
        finally:
            flow.close()

    async def _perform(self, step: Step, streams: Streams) -> Any:
        match step:
            case Send():
                tries = whole(self._connection.retries.steps(step))
                (answer,) = [item async for item in self._drive(tries, streams)]
                return answer
            case Try(send):
                return await self._try(send, streams)
            case Read(answer):
                return await anext(answer.stream[1], b"")
            case Close(answer):
                streams.discard(answer.stream[0])
                return await answer.stream[0].aclose()
            case Sleep(seconds):
                return await asyncio.sleep(seconds)
            case Work(function):
                return await asyncio.to_thread(function)

    async def _try(self, send: Send, streams: Streams) -> Answer:
        response = await self._response(send.request)
        answer = Answer(response.status_code, response.reason_phrase, response.headers)
        if send.streamed and answer.is_success:
            streams.add(response)
            return replace(answer, stream=(response, response.aiter_bytes(send.piece_bytes)))
        try:
            body = WholeBody(time.monotonic() + self._connection.timeout_s + send.request.wait_s)
            async for piece in response.aiter_bytes():
                body.add(piece)
        finally:
            await response.aclose()
        return replace(answer, body=bytes(body.content))

    async def _response(self, request: Request) -> httpx.Response:
        if is_link(request):
            link = self._connection.link(request)
            response = await self._links.handle_async_request(link)
            response.request = link
            return response
        with ExitStack() as opened:
            arguments = self._connection.arguments(request, opened)
            if isinstance(request.body, FileBody):
                total = request.body.upload.size()
                file = opened.enter_context(request.body.upload.opened())
                arguments["content"] = _pieces(request.body, file, total)
            return await self._api.send(self._api.build_request(**arguments), stream=True)


async def _pieces(body: FileBody, file: BinaryIO, total: int) -> AsyncIterator[bytes]:
    sent = SentFile(body, total)
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield sent.count(piece)


class AsyncResource:
    """Calls of one kind of resource."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport


class AsyncMethod(Generic[P, T]):
    """A coroutine method that carries out a flow and returns its value."""

    def __init__(self, describe: Callable[P, Flow[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: AsyncResource, kind: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, owner: AsyncResource | None, kind: type
    ) -> "Self | Callable[P, Coroutine[Any, Any, T]]":
        if owner is None:
            return self

        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await owner.transport.run(self._describe(*args, **kwargs))

        return update_wrapper(method, self._describe)


class AsyncIteration(Generic[P, T]):
    """A method that carries out an iteration while its items are taken."""

    def __init__(self, describe: Callable[P, Items[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: AsyncResource, kind: type) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(
        self, owner: AsyncResource | None, kind: type
    ) -> "Self | Callable[P, AsyncGenerator[T, None]]":
        if owner is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            return owner.transport.iterate(self._describe(*args, **kwargs))

        return update_wrapper(method, self._describe)
