"""Sockets under a deadline."""

import select
import socket
import ssl
import time
from typing import Any, Self

import httpcore


class Allowance(float):
    """Seconds that one operation may take, in a request that must be over at `ends_at` (monotonic clock).

    httpcore hands its timeouts through to the backend untouched, so the deadline of a request travels in
    them: no state is shared between requests or threads.
    """

    ends_at: float

    def __new__(cls, seconds: float, ends_at: float) -> Self:
        allowance = super().__new__(cls, seconds)
        allowance.ends_at = ends_at
        return allowance


def seconds_left(timeout: float | None, expired: type[Exception]) -> float | None:
    """Give the seconds an operation may still take; raise `expired` if the deadline has passed."""
    if not isinstance(timeout, Allowance):
        return timeout
    left = min(float(timeout), timeout.ends_at - time.monotonic())
    if left <= 0:
        raise expired("the deadline of the request has passed")
    return left


class DeadlineStream(httpcore.NetworkStream):
    """A connected socket, each of whose operations ends with the request's deadline at the latest."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timeout = sock.gettimeout()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._allow(seconds_left(timeout, httpcore.ReadTimeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # A view: TLS takes 16 KB at a time, and cutting the rest off as bytes copies megabytes.
        rest = memoryview(buffer)
        try:
            while rest:
                self._allow(seconds_left(timeout, httpcore.WriteTimeout))
                rest = rest[self._sock.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._sock.settimeout(seconds_left(timeout, httpcore.ConnectTimeout))
            return DeadlineStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, ValueError) as error:  # ValueError: a host that TLS cannot name
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def _allow(self, seconds: float | None) -> None:
        # Setting it costs a system call and the GIL; mostly the limit is the one before.
        if seconds != self._timeout:
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "is_readable":  # an idle connection with something to read was closed by the server
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return bool(poll.poll(0))
        return None
