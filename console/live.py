"""Signals to open pages: something changed, look again. What changed the page asks itself.

Operators get a signal when Redis has one, and everybody every two seconds: a producer's pages must not tell
when others work.
"""

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from sse_starlette.sse import AppStatus

from console.faults import PageError
from console.viewer import Viewer
from cutout.queue.signals import Signal, SignalListener
from cutout.settings import Settings

log = logging.getLogger(__name__)

MOST_STREAMS = 200
MOST_OF_A_KEY = MOST_STREAMS // 4
# Four signals a second at most.
SHORTEST_REST_S = 0.25
BEAT_S = 2.0
SESSIONS_EVERY_S = 1.0
# A page that cannot have a stream looks by itself.
POLL_S = 5

CHANGED = b"event: changed\ndata:\n\n"
ENDED = b"event: ended\ndata:\n\n"


@dataclass(eq=False, slots=True)
class Stream:
    """One open page; `changed` wakes it, at `beat_at` on the monotonic clock if nothing does before."""

    token_sha256: bytes
    is_operator: bool
    beat_at: float
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False


class Hub:
    """The open pages of this process. One task looks after all of them, while there are any."""

    def __init__(
        self, settings: Settings, open_sessions: Callable[[list[bytes]], Awaitable[set[bytes]]]
    ) -> None:
        self._settings, self._open_sessions = settings, open_sessions
        self._streams: set[Stream] = set()
        self._of_key: Counter[uuid.UUID] = Counter()
        self._signalled = self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[SignalListener] = []

    def __len__(self) -> int:
        return len(self._streams)

    def require_room(self, viewer: Viewer) -> None:
        """Raise PageError, 503 or 429, if the viewer's page gets no stream: it looks by itself then."""
        if len(self._streams) >= MOST_STREAMS:
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are live.", wait_s=POLL_S)
        if self._of_key[viewer.key_id] >= MOST_OF_A_KEY:
            raise PageError(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many pages of your key are live.", wait_s=POLL_S
            )

    async def events(self, viewer: Viewer, token_sha256: bytes) -> AsyncIterator[bytes]:
        """The events of one page, the first at once, until its session or this process ends."""
        with self._opened(viewer, token_sha256) as stream:
            yield CHANGED
            # Without timers of its own: 200 streams have thousands of them otherwise.
            while True:
                await stream.changed.wait()
                if self._closed or AppStatus.should_exit:
                    return
                if stream.ended:
                    yield ENDED
                    return
                stream.changed.clear()
                yield CHANGED

    def close(self) -> None:
        """Listen no more, and let each stream end."""
        self._closed = True
        for stream in self._streams:
            stream.changed.set()
        if self._task is not None:
            self._task.cancel()
        for listener in self._listeners:
            listener.stop()

    @contextmanager
    def _opened(self, viewer: Viewer, token_sha256: bytes) -> Iterator[Stream]:
        stream = Stream(token_sha256, viewer.is_operator, time.monotonic() + BEAT_S)
        self._streams.add(stream)
        self._of_key[viewer.key_id] += 1
        self._begin()
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            self._of_key[viewer.key_id] -= 1
            if not self._of_key[viewer.key_id]:
                del self._of_key[viewer.key_id]

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
            self._wake()
            # Beside it: the lookup waits where many pages are asked for.
            if time.monotonic() >= sessions_at and (looked_up is None or looked_up.done()):
                sessions_at = time.monotonic() + SESSIONS_EVERY_S
                looked_up = asyncio.create_task(self._end_closed())
            await asyncio.sleep(SHORTEST_REST_S)

    def _wake(self) -> None:
        now, signalled, self._signalled = time.monotonic(), self._signalled, False
        for stream in self._streams:
            if now >= stream.beat_at or (signalled and stream.is_operator):
                stream.beat_at = now + BEAT_S
                stream.changed.set()

    async def _end_closed(self) -> None:
        tokens = {stream.token_sha256 for stream in self._streams}
        try:
            open_ = await self._open_sessions(list(tokens))
        except (PageError, RuntimeError) as error:
            # The streams live by this task.
            log.debug("no session was looked up: %s", type(error).__name__)
            return
        for stream in self._streams:
            if stream.token_sha256 in tokens - open_:
                stream.ended = True
                stream.changed.set()


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(call)
