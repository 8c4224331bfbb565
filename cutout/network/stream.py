"""Sockets under a deadline."""

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Self

import httpcore

ASK_EVERY_S = 0.5

Interrupted = Callable[[], str | None]
"""Why a request is not to be waited for any longer; None while it is."""


class Allowance(float):
    """Seconds that one operation may take, in a request that must be over at `ends_at` (monotonic clock).

    httpcore hands its timeouts through to the backend untouched, so the deadline of a request travels in
    them: no state is shared between requests or threads. `interrupted` is asked while nothing comes.
    """

    ends_at: float
    interrupted: Interrupted | None

    def __new__(cls, seconds: float, ends_at: float, interrupted: Interrupted | None = None) -> Self:
        allowance = super().__new__(cls, seconds)
        allowance.ends_at = ends_at
        allowance.interrupted = interrupted
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
            if isinstance(timeout, Allowance) and timeout.interrupted is not None:
                return self._read_unless(timeout.interrupted, max_bytes, timeout)
            self._allow(seconds_left(timeout, httpcore.ReadTimeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def _read_unless(self, interrupted: Interrupted, max_bytes: int, timeout: Allowance) -> bytes:
        gives_up_at = time.monotonic() + float(timeout)
        while True:
            if reason := interrupted():
                raise httpcore.ReadTimeout(reason)
            left = min(seconds_left(timeout, httpcore.ReadTimeout) or 0.0, gives_up_at - time.monotonic())
            self._allow(min(max(left, 0.001), ASK_EVERY_S))
            try:
                return self._sock.recv(max_bytes)
            except TimeoutError:
                # TLS as well goes on where a wait for the rest of a record ended.
                if left <= ASK_EVERY_S:
                    raise

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
