"""An HTTP proxy that knows CONNECT, on loopback, with the troubles of real ones."""

import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

from tests.support.machine import scaled


class Way(StrEnum):
    """The fate of a request to connect."""

    OPEN = "open"
    DROP = "drop"
    """The connection is closed without an answer."""

    HANG = "hang"
    """Nothing comes."""

    DRIBBLE = "dribble"
    """An answer that never ends, byte by byte."""

    GARBAGE = "garbage"
    """Something that is not HTTP."""

    CHATTER = "chatter"
    """Bytes after the head, as if the server had spoken first."""


UNREACHED = 502
SAID = {
    Way.GARBAGE: b"SSH-2.0-OpenSSH\r\n\r\n",
    Way.CHATTER: b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
}


class ConnectProxy:
    """Tunnels to `routes`: a public address, as asked for, to a port of loopback. Others are answered 502.

    `way` is one of Way, or a status to answer. `asked` are the targets, `heads` the whole requests.
    """

    def __init__(self, routes: Mapping[str, int], *, login: str | None = None) -> None:
        self.routes = dict(routes)
        self.way: Way | int = Way.OPEN
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.port = 0
        self._login = login
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """The address, with the login if there is one."""
        return f"http://{self._login + '@' if self._login else ''}127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Close every connection."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # A thread that accepts is not woken by close alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        try:
            with client, suppress(OSError):
                self._answer(client)
        finally:
            self._open.discard(client)

    def _answer(self, client: socket.socket) -> None:
        text = _read_head(client)
        self.heads.append(text)
        found = re.match(r"CONNECT (\S+) HTTP/1\.1\r\n", text)
        assert found is not None, text
        self.asked.append(found[1])
        match self.way:
            case Way.HANG:
                self._ended.wait(scaled(30))
            case Way.DRIBBLE:
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                while not self._ended.wait(0.05):
                    client.sendall(b"X")
            case Way.GARBAGE | Way.CHATTER as kind:
                client.sendall(SAID[kind])
            case Way.OPEN if found[1] in self.routes:
                self._tunnel(client, self.routes[found[1]])
            case Way.OPEN | int() as status:
                code = UNREACHED if status == Way.OPEN else status
                client.sendall(f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n".encode())

    def _tunnel(self, client: socket.socket, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            self._open.add(server)
            client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
            self._open.discard(server)


def _read_head(client: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(4096)
        if not piece:
            raise ConnectionAbortedError
        head += piece
    return head.decode("ascii")


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
