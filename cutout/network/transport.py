"""Transport for httpx: total deadlines, checked addresses, nothing shared between requests."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore
import httpx

from cutout.network.backend import GuardedBackend
from cutout.network.connections import DEFAULT_PORTS, Connections, Origin
from cutout.network.ip_addresses import AddressPolicy
from cutout.network.stream import Allowance, Interrupted


@dataclass(frozen=True)
class Timeouts:
    """Seconds per operation, and for the whole request, from name resolution to the body's last byte."""

    connect: float = 5.0
    write: float = 30.0
    read: float = 30.0
    total: float = 60.0


class GuardedTransport(httpx.BaseTransport):
    """Transport for one thread: httpcore's pool takes quadratic time under many threads. The TLS context is
    shared.

    Raises the exceptions of httpx, and AddressRefused. Extensions of a request: `deadline_s` replaces the
    total timeout; the other timeouts are the transport's, whatever a client sets. `interrupted` is called
    twice a second while nothing comes: a reason ends the request. `before_first_byte` is called once a
    connection is open, right before the request is sent; its exceptions are passed on.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        policy: AddressPolicy | None = None,
        keepalive_expiry_s: float = 3.0,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._connections = Connections(GuardedBackend(policy), keepalive_expiry_s)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(request.stream, httpx.SyncByteStream):
            raise TypeError("the body of the request is asynchronous")
        url = request.url
        allowances = self._allowances(
            request.extensions.get("deadline_s"), request.extensions.get("interrupted")
        )
        if url.raw_scheme not in DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol(f"only http and https are supported, not {url.scheme!r}")
        origin = (url.raw_scheme, url.raw_host, url.port or DEFAULT_PORTS[url.raw_scheme])
        inner = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": allowances},
        )
        with _as_httpx():
            before = request.extensions.get("before_first_byte")
            connection = self._take(origin, allowances["connect"], before)
            response = connection.handle_request(inner)
        give_back = functools.partial(self._connections.give_back, origin, connection)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response, give_back), request=request
        )

    def _take(
        self, origin: Origin, connect_timeout: float, before_first_byte: Callable[[], None] | None
    ) -> httpcore.HTTP11Connection:
        """Take a connection on which the first byte may be sent now."""
        while True:
            connection = self._connections.take(origin, connect_timeout)
            if before_first_byte is None:
                return connection
            try:
                before_first_byte()
            except BaseException:
                self._connections.give_back_unused(origin, connection)
                raise
            # The server may have closed the connection during the wait.
            if not connection.has_expired():
                return connection
            connection.close()

    def close(self) -> None:
        self._connections.close()

    def _allowances(self, deadline_s: float | None, interrupted: Interrupted | None) -> dict[str, float]:
        limits = self._timeouts
        total = limits.total if deadline_s is None else deadline_s
        ends_at = time.monotonic() + total
        return {
            "connect": Allowance(limits.connect, ends_at),
            "write": Allowance(limits.write, ends_at),
            "read": Allowance(limits.read, ends_at, interrupted),
        }


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response, give_back: Callable[[], None]) -> None:
        self._response = response
        self._give_back = give_back

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
        self._give_back()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Convert httpcore's exceptions to those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        same_name: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise same_name(str(error)) from error
