"""The end of a connection whose client still sends a body that was already answered.

Closed at once, the client's system would throw away the answer for the bytes that were not read (RFC 9112,
9.6). Read at full speed, such a body costs as much as one that is wanted. So the end of the answer is sent,
and the rest is read without use, slowly and for some seconds at most.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

PIECE_BYTES = 64 * 1024
# 12 MB/s: a list of 16 MB ends in time.
EVERY_S = 0.005
# Up to this many connections are read at this rate; with more of them each is slower.
AT_FULL_SPEED = 4
WITHIN_S = 3.0


class Lingering(asyncio.BufferedProtocol):
    """Read with pauses into a buffer that is not used, until the client ends or `within_s` are over."""

    within_s = WITHIN_S
    _unused = bytearray(PIECE_BYTES)
    _count: ClassVar[int] = 0

    def __init__(self, transport: asyncio.Transport, before: asyncio.Protocol) -> None:
        self._transport, self._before = transport, before
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.call_later(self.within_s, transport.close)
        self._goes_on: asyncio.TimerHandle | None = None
        Lingering._count += 1

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._unused

    def buffer_updated(self, _nbytes: int) -> None:
        self._transport.pause_reading()
        pause_s = EVERY_S * max(Lingering._count / AT_FULL_SPEED, 1)
        self._goes_on = self._loop.call_later(pause_s, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.cancel()
        if self._goes_on is not None:
            self._goes_on.cancel()
        Lingering._count -= 1
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()


class LingeringTransport:
    """A transport whose `close` lingers while `unread` says that the client may be sending.

    The protocol hears no more of what comes then, and is told when the connection is lost.
    """

    def __init__(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, unread: Callable[[], bool]
    ) -> None:
        self._transport, self._protocol, self._unread = transport, protocol, unread
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def pause_reading(self) -> None:
        if not self._lingers:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._lingers:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close, at once if nothing may be lost by it or it lingers already."""
        if self._lingers or self._transport.is_closing() or not self._unread():
            self._transport.close()
            return
        self._lingers = True
        self._transport.set_protocol(Lingering(self._transport, self._protocol))
        if self._tell_the_end():
            self._transport.resume_reading()
        else:
            self._transport.close()

    def _tell_the_end(self) -> bool:
        """Whether our side of the connection could be closed while the client still sends."""
        if not self._transport.can_write_eof():
            return False
        try:
            self._transport.write_eof()
        except OSError:
            return False
        return True
