"""The transport that blocks, and the descriptors that make methods of flows with it."""

import ssl
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
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


class SyncTransport:
    """A transport that carries out the steps of flows. Threads may share it."""

    def __init__(self, connection: Connection, certificates: ssl.SSLContext) -> None:
        self._connection = connection
        self._api = httpx.Client(base_url=connection.url, headers=connection.headers(), verify=certificates)
        self._links = httpx.HTTPTransport(verify=certificates)

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow; returns its value."""
        (value,) = self.iterate(whole(flow))
        return value

    def iterate(self, flow: Items[T]) -> Generator[T, None, None]:
        """Carry out an iteration while its items are taken."""
        streams: Streams = set()
        try:
            yield from self._drive(flow, streams)
        finally:
            for stream in streams:
                stream.close()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._links.close()

    def _drive(self, flow: Items[T], streams: Streams) -> Generator[T, None, None]:
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
                    done = self._perform(step, streams)
                except UNREADABLE as error:
                    failed = unreadable(error)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    failed = error
        except StopIteration:
            return
        finally:
            flow.close()

    def _perform(self, step: Step, streams: Streams) -> Any:
        match step:
            case Send():
                (answer,) = self._drive(whole(self._connection.retries.steps(step)), streams)
                return answer
            case Try(send):
                return self._try(send, streams)
            case Read(answer):
                return next(answer.stream[1], b"")
            case Close(answer):
                streams.discard(answer.stream[0])
                return answer.stream[0].close()
            case Sleep(seconds):
                return time.sleep(seconds)
            case Work(function):
                return function()

    def _try(self, send: Send, streams: Streams) -> Answer:
        response = self._response(send.request)
        answer = Answer(response.status_code, response.reason_phrase, response.headers)
        if send.streamed and answer.is_success:
            streams.add(response)
            return replace(answer, stream=(response, response.iter_bytes(send.piece_bytes)))
        try:
            body = WholeBody(time.monotonic() + self._connection.timeout_s + send.request.wait_s)
            for piece in response.iter_bytes():
                body.add(piece)
        finally:
            response.close()
        return replace(answer, body=bytes(body.content))

    def _response(self, request: Request) -> httpx.Response:
        if is_link(request):
            link = self._connection.link(request)
            response = self._links.handle_request(link)
            response.request = link
            return response
        with ExitStack() as opened:
            arguments = self._connection.arguments(request, opened)
            if isinstance(request.body, FileBody):
                total = request.body.upload.size()
                file = opened.enter_context(request.body.upload.opened())
                arguments["content"] = _pieces(request.body, file, total)
            return self._api.send(self._api.build_request(**arguments), stream=True)


def _pieces(body: FileBody, file: BinaryIO, total: int) -> Iterator[bytes]:
    sent = SentFile(body, total)
    while piece := file.read(PIECE_BYTES):
        yield sent.count(piece)


class Resource:
    """Calls of one kind of resource."""

    def __init__(self, transport: SyncTransport) -> None:
        self.transport = transport


class Method(Generic[P, T]):
    """A method that carries out a flow and returns its value."""

    def __init__(self, describe: Callable[P, Flow[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Resource, kind: type) -> Callable[P, T]: ...
    def __get__(self, owner: Resource | None, kind: type) -> "Self | Callable[P, T]":
        if owner is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return owner.transport.run(self._describe(*args, **kwargs))

        return update_wrapper(method, self._describe)


class Iteration(Generic[P, T]):
    """A method that carries out an iteration while its items are taken."""

    def __init__(self, describe: Callable[P, Items[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Resource, kind: type) -> Callable[P, Generator[T, None, None]]: ...
    def __get__(self, owner: Resource | None, kind: type) -> "Self | Callable[P, Generator[T, None, None]]":
        if owner is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
            return owner.transport.iterate(self._describe(*args, **kwargs))

        return update_wrapper(method, self._describe)
