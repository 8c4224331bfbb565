"""Transport for httpx: total deadlines, checked addresses, nothing shared between requests."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import h11
import httpcore
import httpx

from cutout.network.backend import GuardedBackend
from cutout.network.connections import DEFAULT_PORTS, Connections, Origin
from cutout.network.egress_proxy import EgressProxy
from cutout.network.http1 import Http1Connection, request_head
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

    Raises the exceptions of httpx, AddressRefused, and NotReached and EgressUnavailable before anything was
    sent. Extensions of a request: `deadline_s` replaces the total timeout; the other timeouts are the
    transport's, whatever a client sets. `interrupted` is called twice a second while nothing comes: a reason
    ends the request. `before_first_byte` is called once a connection is open, right before the request is
    sent; its exceptions are passed on.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        policy: AddressPolicy | None = None,
        proxy: EgressProxy | None = None,
        keepalive_expiry_s: float = 3.0,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._connections = Connections(GuardedBackend(policy, proxy), keepalive_expiry_s)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(request.stream, httpx.SyncByteStream):
            raise TypeError("the body of the request is asynchronous")
        url, extensions = request.url, request.extensions
        if url.raw_scheme not in DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol(f"only http and https are supported, not {url.scheme!r}")
        origin = (url.raw_scheme, url.raw_host, url.port or DEFAULT_PORTS[url.raw_scheme])
        allowances = self._allowances(extensions.get("deadline_s"), extensions.get("interrupted"))
        with _as_httpx():
            head = request_head(request.method, url.raw_path, request.headers.raw)
            before = extensions.get("before_first_byte")
            answer, body = self._exchange(origin, head, request.stream, allowances, before)
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw_items(), stream=body, request=request
        )

    def exchange(self, method: str, url: str, headers: Mapping[str, str], data: bytes = b"") -> "Exchange":
        """Send a request to an http or https URL that we made ourselves; close what is returned.

        It costs half the CPU of httpx's objects, and raises the same exceptions as `handle_request`.
        """
        origin, host, target = _split(url)
        sent = {"Host": host, **headers}
        if data or method == "PUT":
            sent["Content-Length"] = str(len(data))
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()]
        with _as_httpx():
            head = request_head(method, target, encoded)
            answer, body = self._exchange(origin, head, [data] if data else [], self._allowances(None, None))
        return Exchange(answer.status_code, dict(answer.headers), body)

    def _exchange(
        self,
        origin: Origin,
        head: h11.Request,
        data: Iterable[bytes],
        allowances: dict[str, Allowance],
        before_first_byte: Callable[[], None] | None = None,
    ) -> tuple[h11.Response, "_Body"]:
        connection = self._take(origin, allowances["connect"], before_first_byte)
        answer = connection.send(head, data, write=allowances["write"], read=allowances["read"])
        give_back = functools.partial(self._connections.give_back, origin, connection)
        return answer, _Body(connection, give_back)

    def _take(
        self, origin: Origin, connect_timeout: float, before_first_byte: Callable[[], None] | None
    ) -> Http1Connection:
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

    def _allowances(self, deadline_s: float | None, interrupted: Interrupted | None) -> dict[str, Allowance]:
        limits = self._timeouts
        total = limits.total if deadline_s is None else deadline_s
        ends_at = time.monotonic() + total
        return {
            "connect": Allowance(limits.connect, ends_at),
            "write": Allowance(limits.write, ends_at),
            "read": Allowance(limits.read, ends_at, interrupted),
        }


class Exchange:
    """The response to a request: its status, its headers by their names in lower case, and its body."""

    def __init__(self, status: int, headers: Mapping[bytes, bytes], body: httpx.SyncByteStream) -> None:
        self.status = status
        self._headers = headers
        self._body = body

    def header(self, name: str) -> str | None:
        """A header of the response, if it has it."""
        value = self._headers.get(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def pieces(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        return iter(self._body)

    def close(self) -> None:
        """Give the connection back; it is closed unless the body was read to its end."""
        self._body.close()


@functools.lru_cache(maxsize=256)
def _split_base(base: str) -> tuple[Origin, str]:
    url = httpx.URL(base)
    origin = (url.raw_scheme, url.raw_host, url.port or DEFAULT_PORTS[url.raw_scheme])
    return origin, url.netloc.decode("ascii")


def _split(url: str) -> tuple[Origin, str, bytes]:
    """A URL's origin, the value of its Host header, and what is requested there."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return *_split_base(f"{scheme}://{host}"), f"/{path}".encode("ascii")


class _Body(httpx.SyncByteStream):
    def __init__(self, connection: Http1Connection, give_back: Callable[[], None]) -> None:
        self._connection = connection
        self._give_back = give_back

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._connection.pieces()

    def close(self) -> None:
        self._connection.end()
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
