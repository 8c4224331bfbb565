"""Sockets with a deadline."""

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Self

import httpcore

POLL_EVERY_S = 0.5

Interrupted = Callable[[], str | None]
"""Callback that returns the reason to stop waiting for a request, or None."""


class Allowance(float):
    """Seconds allowed for one operation, in a request that must end by `ends_at` (monotonic clock).

    httpcore passes its timeouts to the backend unchanged, so they carry the request's deadline: requests and
    threads share no state. `interrupted` is called while nothing comes.
    """

    ends_at: float
    interrupted: Interrupted | None

    def __new__(cls, seconds: float, ends_at: float, interrupted: Interrupted | None = None) -> Self:
        allowance = super().__new__(cls, seconds)
        allowance.ends_at = ends_at
        allowance.interrupted = interrupted
        return allowance


def seconds_left(timeout: float | None, expired: type[Exception]) -> float | None:
    """Return the seconds an operation may still take; raise `expired` if the deadline has passed."""
    if not isinstance(timeout, Allowance):
        return timeout
    left = min(float(timeout), timeout.ends_at - time.monotonic())
    if left <= 0:
        raise expired("the deadline of the request has passed")
    return left


class DeadlineStream(httpcore.NetworkStream):
    """A connected socket whose operations end at the request's deadline at the latest."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timeout = sock.gettimeout()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            if isinstance(timeout, Allowance) and timeout.interrupted is not None:
                return self._read_unless(timeout.interrupted, max_bytes, timeout)
            self._set_timeout(seconds_left(timeout, httpcore.ReadTimeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Read what there is into the buffer; returns the number of bytes, 0 at the end of the stream."""
        try:
            self._set_timeout(seconds_left(timeout, httpcore.ReadTimeout))
            return self._sock.recv_into(buffer)
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
            self._set_timeout(min(max(left, 0.001), POLL_EVERY_S))
            try:
                return self._sock.recv(max_bytes)
            except TimeoutError:
                # TLS also resumes a record whose wait timed out.
                if left <= POLL_EVERY_S:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # A view: TLS takes 16 KB at a time, and slicing bytes would copy megabytes.
        rest = memoryview(buffer)
        try:
            while rest:
                self._set_timeout(seconds_left(timeout, httpcore.WriteTimeout))
                rest = rest[self._sock.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "DeadlineStream":
        try:
            self._sock.settimeout(seconds_left(timeout, httpcore.ConnectTimeout))
            return DeadlineStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, ValueError) as error:  # ValueError: a host that TLS cannot name
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def _set_timeout(self, seconds: float | None) -> None:
        # Setting it costs a system call and the GIL; usually it has not changed.
        if seconds != self._timeout:
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def is_readable(self) -> bool:
        """Whether something can be read now: an idle connection was closed by the server then."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))
