"""Streams to open pages: their parts, as soon as those were made anew, until the session ends."""

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi.responses import StreamingResponse
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from console.faults import PageError
from console.parts import Part
from console.viewer import Viewer
from console.views import ScreenRequest
from console.watched import ENDED, Make, Watched, WatchedParts
from cutout.queue.signals import Signal, SignalListener
from cutout.settings import Settings

log = logging.getLogger(__name__)

MOST_STREAMS = 200
MOST_OF_ONE = MOST_STREAMS // 4
TICK_S = 0.25
SESSIONS_EVERY_S = 1.0
# A page that cannot have a stream looks by itself.
POLL_S = 5


@dataclass(eq=False, slots=True)
class Stream:
    """One open page of `owner`, a producer or an operator's key; `woken` is set when it has news."""

    token_sha256: bytes
    owner: uuid.UUID
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    sent: dict[Watched, Part | None] = field(default_factory=dict)

    def news(self) -> Iterator[bytes]:
        """The events that it has not sent yet."""
        for watched, sent in self.sent.items():
            # It may be made anew while the event is being sent.
            event, self.sent[watched] = watched.news(sent), watched.part
            if event:
                yield event


class Hub:
    """The open pages of this process. One task looks after all of them, while there are any."""

    def __init__(
        self, settings: Settings, open_sessions: Callable[[list[bytes]], Awaitable[set[bytes]]], make: Make
    ) -> None:
        self._settings, self._open_sessions = settings, open_sessions
        self._parts = WatchedParts(make)
        self._streams: set[Stream] = set()
        self._of: Counter[uuid.UUID] = Counter()
        self._signalled = self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[SignalListener] = []

    def __len__(self) -> int:
        return len(self._streams)

    def open(
        self, viewer: Viewer, token_sha256: bytes, wanted: ScreenRequest, names: Collection[str]
    ) -> Stream:
        """The stream of the viewer's page, which counts until it leaves.

        Raises PageError, 503 or 429, without room for it: the page looks by itself then.
        """
        if len(self._streams) >= MOST_STREAMS:
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are live.", wait_s=POLL_S)
        owner = viewer.producer_id or viewer.key_id
        if self._of[owner] >= MOST_OF_ONE:
            text = "Too many pages of your producer or key are live."
            raise PageError(HTTPStatus.TOO_MANY_REQUESTS, text, wait_s=POLL_S)
        stream = Stream(token_sha256, owner)
        self._streams.add(stream)
        self._of[owner] += 1
        stream.sent = {self._parts.watch(wanted, name, stream.woken): None for name in names}
        self._begin()
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget the stream."""
        for watched in stream.sent:
            self._parts.leave(watched, stream.woken)
        self._streams.discard(stream)
        self._of -= Counter([stream.owner])

    async def events(self, stream: Stream) -> AsyncIterator[bytes]:
        """The events of the stream, those of its parts at once, until its session or this process ends."""
        # Without timers of its own: 200 streams have thousands of them otherwise.
        while True:
            await stream.woken.wait()
            stream.woken.clear()
            if self._closed or AppStatus.should_exit:
                return
            if stream.ended:
                yield ENDED
                return
            for event in stream.news():
                yield event

    def close(self) -> None:
        """Listen no more, and let each stream end."""
        self._closed = True
        for stream in self._streams:
            stream.woken.set()
        if self._task is not None:
            self._task.cancel()
        for listener in self._listeners:
            listener.stop()

    def _begin(self) -> None:
        if not self._listeners:
            loop = asyncio.get_running_loop()
            for signal in Signal:
                listener = SignalListener(self._settings, signal, lambda: _soon(loop, self._signal))
                self._listeners.append(listener)
                listener.start()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_after())

    def _signal(self) -> None:
        self._signalled = True

    async def _look_after(self) -> None:
        sessions_at, looked_up = 0.0, None
        while self._streams:
            signalled, self._signalled = self._signalled, False
            self._parts.refresh_due(signalled=signalled)
            # Beside it: the lookup waits where many pages are asked for.
            if time.monotonic() >= sessions_at and (looked_up is None or looked_up.done()):
                sessions_at = time.monotonic() + SESSIONS_EVERY_S
                looked_up = asyncio.create_task(self._end_closed())
            await asyncio.sleep(TICK_S)

    async def _end_closed(self) -> None:
        tokens = {stream.token_sha256 for stream in self._streams}
        try:
            open_ = await self._open_sessions(list(tokens))
        except (PageError, RuntimeError) as error:
            # The streams live by this task.
            log.debug("no session was looked up: %s", type(error).__name__)
            return
        closed = tokens - open_
        for stream in self._streams:
            if stream.token_sha256 in closed:
                stream.ended = True
                stream.woken.set()


class StreamResponse(StreamingResponse):
    """The answer with a stream, which is left also if nothing of it was sent."""

    def __init__(self, hub: Hub, stream: Stream, headers: Mapping[str, str]) -> None:
        super().__init__(hub.events(stream), media_type="text/event-stream", headers=headers)
        self._hub, self._stream = hub, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it until it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._stream)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(call)
