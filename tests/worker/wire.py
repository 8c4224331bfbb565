"""Servers that misbehave byte by byte."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]

JSON_OK = (
    b'{"request_id": "r-1", "log_id": "l-1", "data": {"image_url": "https://results.example/secret.png"}}'
)


@contextlib.contextmanager
def serving(behaviour: Behaviour, *, receive_buffer: int | None = None) -> Iterator[str]:
    """Serve each connection with `behaviour` in a thread; give the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        acceptor = threading.Thread(target=_accept, args=(listener, behaviour), daemon=True)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(10)


def _accept(listener: socket.socket, behaviour: Behaviour) -> None:
    threads, connections = [], []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            break
        connections.append(connection)
        threads.append(threading.Thread(target=_behave, args=(connection, behaviour), daemon=True))
        threads[-1].start()
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)


def _behave(connection: socket.socket, behaviour: Behaviour) -> None:
    with connection, contextlib.suppress(OSError):
        behaviour(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its whole body; b"" if the client closes first."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(1 << 20)
    return head + b"\r\n\r\n" + body


def response(body: bytes = JSON_OK, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def answering(*parts: bytes) -> Behaviour:
    """Answer every request of a connection with these bytes."""

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(b"".join(parts))

    return behave


def closing_after(*parts: bytes) -> Behaviour:
    """Take one whole request, send these bytes, and close."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"".join(parts))

    return behave


def dribbling(prefix: bytes, *, interval_s: float = 0.05) -> Behaviour:
    """Take a request, send `prefix`, then byte after byte without end: no single read ever times out."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(prefix)
        gone = threading.Event()
        while not gone.wait(interval_s):
            connection.sendall(b"x")

    return behave


def stopping_after(*parts: bytes) -> Behaviour:
    """Take one request, send these bytes, and nothing more until the client closes."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"".join(parts))
        silent(connection)

    return behave


def silent(connection: socket.socket) -> None:
    """Read everything and send nothing until the client closes."""
    while connection.recv(1 << 20):
        pass


def deaf(connection: socket.socket) -> None:
    """Read nothing and send nothing until the test is over."""
    connection.recv(1)
    threading.Event().wait(1)


def reset(connection: socket.socket) -> None:
    """Close so that the client gets an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
