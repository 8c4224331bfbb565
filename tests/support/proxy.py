"""A TCP proxy before a real server, to put trouble on the line between."""

import re
import socket
import struct
import threading
import time
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

CHUNK = 65_536
LOOK_S = 0.02
# Of an S3 request, in its header or in its link.
SIGNATURE = re.compile(rb"(Signature=)[0-9a-f]{8}")
AT_ONCE = struct.pack("ii", 1, 0)


class Mode(StrEnum):
    """The fate of the bytes."""

    PASS = "pass"
    """They are forwarded."""

    REFUSE = "refuse"
    """Connections are reset, new ones as soon as they are made."""

    STALL = "stall"
    """Connections are accepted and kept; nothing is forwarded until another mode is set."""

    SLOW = "slow"
    """They are forwarded at `bytes_per_second`, each connection for itself."""

    FORBID = "forbid"
    """Each request's signature is spoilt: the server answers 403, as if its keys had been changed."""


class Proxy:
    """Listens on a free port of loopback and forwards to `port` there; the mode can be set at any time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mode = Mode.PASS
        self._bytes_per_second = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.stalled = 0
        self._answers: dict[bytes, bytes] = {}

    @property
    def url(self) -> str:
        """The address to use instead of the server's."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def set(self, mode: Mode, *, bytes_per_second: int = 0) -> None:
        """Change the mode for open connections and new ones."""
        self._bytes_per_second = bytes_per_second
        self.stalled = 0
        self._mode = mode
        if mode is Mode.REFUSE:
            self.cut()

    def answer(self, part: str, status: int, code: str) -> None:
        """Answer requests whose first line has `part` as an S3 server does that refuses them with `code`."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
        head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
        self._answers[part.encode()] = f"{head}\r\n\r\n{body}".encode()

    def cut(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            for end in self._open:
                _reset(end)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listener.settimeout(LOOK_S)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._mode is Mode.REFUSE:
                _reset(client)
                client.close()
            else:
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                _reset(client)
                return
            with server:
                with self._lock:
                    self._open |= {client, server}
                back = threading.Thread(target=self._forward, args=(server, client), daemon=True)
                back.start()
                self._forward(client, server, asks=True)
                back.join()
                with self._lock:
                    self._open -= {client, server}

    def _forward(self, source: socket.socket, target: socket.socket, *, asks: bool = False) -> None:
        """Carry bytes one way until either end is closed; then close both for the other way too."""
        try:
            while data := source.recv(CHUNK):
                self._wait(len(data))
                if asks and (answer := self._answer_to(data)):
                    source.sendall(answer)
                    continue
                if asks and self._mode is Mode.FORBID:
                    data = SIGNATURE.sub(rb"\g<1>00000000", data)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            _shut(end)

    def _answer_to(self, data: bytes) -> bytes | None:
        first_line = data.split(b"\r\n", 1)[0]
        return next((answer for part, answer in self._answers.items() if part in first_line), None)

    def _wait(self, size: int) -> None:
        if self._mode is Mode.STALL:
            self.stalled += 1
        while self._mode is Mode.STALL and not self._ended.is_set():
            time.sleep(LOOK_S)
        if self._mode is Mode.SLOW:
            time.sleep(size / self._bytes_per_second)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        end.shutdown(socket.SHUT_RDWR)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
