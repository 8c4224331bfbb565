"""One HTTP/1.1 connection. h11 writes and reads heads; a body of known length is read past it.

h11 copies each piece of a body several times: a result of 1.3 MB took four times the CPU of its transfer.
"""

import io
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import h11
import httpcore

from cutout.network.stream import Allowance, DeadlineStream

LONGEST_HEAD = 102_400
PIECE_BYTES = 65_536
# A piece into which the socket's bytes are read without a copy; a body that is larger comes as several.
WHOLE_BYTES = 2_000_000
WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


class Http1Connection:
    """A connection for one request at a time. Raises the exceptions of httpcore.

    `is_idle` says whether the last response was read to its end and another request may follow.
    """

    def __init__(self, stream: DeadlineStream, keepalive_expiry_s: float) -> None:
        self._stream = stream
        self._keepalive_expiry_s = keepalive_expiry_s
        self._http = h11.Connection(h11.CLIENT, LONGEST_HEAD)
        self._read_within = Allowance(0, 0)
        # Bytes of the body that are still to come; None if h11 must find its end.
        self._left: int | None = None
        self._received = b""
        self._expires_at = 0.0
        self.is_idle = False
        self._is_closed = False

    def send(
        self, head: h11.Request, body: Iterable[bytes], *, write: Allowance, read: Allowance
    ) -> h11.Response:
        """Send a request and read the head of its response, whose body `pieces` gives."""
        self.is_idle = False
        self._read_within = read
        try:
            # A server may refuse a request before it has read it, and close: its response says why.
            with suppress(httpcore.WriteError):
                self._write(head, body, write)
            return self._head(head.method)
        except BaseException:
            self.close()
            raise

    def pieces(self) -> Iterator[bytes]:
        """The body of the response, piece by piece; `end` must follow."""
        try:
            yield from self._pieces_by_h11() if self._left is None else self._known_pieces()
        except BaseException:
            self.close()
            raise

    def end(self) -> None:
        """End the request: the connection is idle if the response was read to its end, else closed."""
        http = self._http
        is_read = http.their_state is h11.DONE if self._left is None else self._left == 0
        surplus = http.trailing_data[0] if self._left is None else self._received
        # A response that nobody asked for must not become the next one's.
        if is_read and not surplus and http.our_state is h11.DONE and not self._is_closed:
            self._http = h11.Connection(h11.CLIENT, LONGEST_HEAD)
            self._expires_at = time.monotonic() + self._keepalive_expiry_s
            self.is_idle = True
        else:
            self.close()

    def has_expired(self) -> bool:
        """Whether an idle connection was closed by its server, or is too old to be used again."""
        return self.is_idle and (time.monotonic() > self._expires_at or self._stream.is_readable())

    def close(self) -> None:
        self.is_idle, self._is_closed = False, True
        self._stream.close()

    def _write(self, head: h11.Request, body: Iterable[bytes], within: Allowance) -> None:
        self._send(head, within)
        for part in body:
            self._send(h11.Data(data=part), within)
        self._send(h11.EndOfMessage(), within)

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage, within: Allowance) -> None:
        with _local():
            data = self._http.send(event)
        if data:
            self._stream.write(data, within)

    def _head(self, method: bytes) -> h11.Response:
        event = self._next_event()
        while not isinstance(event, h11.Response):
            event = self._next_event()
        self._left = _length(event, method)
        if self._left is not None:
            self._received = self._http.trailing_data[0]
        return event

    def _known_pieces(self) -> Iterator[bytes]:
        """Pieces up to the known end. Whoever may interrupt the download counts small ones as they come."""
        left, received = self._left or 0, self._received
        whole = 0 if self._read_within.interrupted else WHOLE_BYTES
        while left:
            if left > PIECE_BYTES and len(received) < whole:
                piece, received = self._whole_piece(received, min(left, whole)), b""
            else:
                piece = received or self._stream.read(min(left, PIECE_BYTES), self._read_within)
                piece, received = piece[:left], piece[left:]
            if not piece:
                raise self._broken_off(left)
            left -= len(piece)
            self._left, self._received = left, received
            yield piece

    def _whole_piece(self, begin: bytes, size: int) -> bytes:
        buffer = io.BytesIO()
        buffer.seek(size - 1)
        buffer.write(b"\0")
        at = len(begin)
        with buffer.getbuffer() as view:
            view[:at] = begin
            while at < size:
                count = self._stream.read_into(view[at:], self._read_within)
                if not count:
                    raise self._broken_off(size - at)
                at += count
        return buffer.getvalue()

    def _broken_off(self, left: int) -> httpcore.RemoteProtocolError:
        return httpcore.RemoteProtocolError(f"the server closed the connection {left} bytes too early")

    def _pieces_by_h11(self) -> Iterator[bytes]:
        while not isinstance(event := self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        with _remote():
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = self._stream.read(PIECE_BYTES, self._read_within)
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
                self._http.receive_data(data)
        return event


def request_head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> h11.Request:
    """The head of a request. Raises LocalProtocolError for characters that no header may have."""
    with _local():
        return h11.Request(method=method, target=target, headers=list(headers))


def _length(head: h11.Response, method: bytes) -> int | None:
    """The body's length in bytes, if the head tells it. h11 has checked the headers."""
    if method == b"HEAD" or head.status_code in WITHOUT_BODY:
        return 0
    named = dict(head.headers)
    if b"transfer-encoding" in named or b"content-length" not in named:
        return None
    return int(named[b"content-length"])


@contextmanager
def _remote() -> Iterator[None]:
    try:
        yield
    except h11.RemoteProtocolError as error:
        raise httpcore.RemoteProtocolError(str(error)) from error


@contextmanager
def _local() -> Iterator[None]:
    try:
        yield
    except h11.LocalProtocolError as error:
        raise httpcore.LocalProtocolError(str(error)) from error
