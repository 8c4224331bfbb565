"""Connections of one thread: opened on demand, kept open for a while after a request."""

import functools
import os
import ssl

import certifi

from cutout.network.backend import GuardedBackend
from cutout.network.http1 import Http1Connection

DEFAULT_PORTS = {b"http": 80, b"https": 443}
MOST_KEPT = 4

Origin = tuple[bytes, bytes, int]  # scheme, host, port


class Connections:
    """Connections for one thread, without a lock or a queue. All instances share the TLS context.

    httpcore's own pool scans its connections and requests up to four times per request.
    """

    def __init__(self, backend: GuardedBackend, keepalive_expiry_s: float) -> None:
        self._backend = backend
        self._keepalive_expiry_s = keepalive_expiry_s
        self._kept: dict[Origin, Http1Connection] = {}

    def take(self, origin: Origin, connect_timeout: float) -> Http1Connection:
        """Take a connection to the origin for exclusive use: a kept one, unless it has expired, or a new one.

        Raises the exceptions of httpcore, and AddressRefused.
        """
        self._close_expired()
        return self._kept.pop(origin, None) or self._open(origin, connect_timeout)

    def give_back(self, origin: Origin, connection: Http1Connection) -> None:
        """Keep a connection whose request has ended, if it can take another."""
        if not connection.is_idle:
            return
        if origin in self._kept or len(self._kept) == MOST_KEPT:
            self._kept.pop(origin if origin in self._kept else next(iter(self._kept))).close()
        self._kept[origin] = connection

    def give_back_unused(self, origin: Origin, connection: Http1Connection) -> None:
        """Keep a connection on which nothing was sent; a new one is closed, because it never expires."""
        if connection.is_idle:
            self.give_back(origin, connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _close_expired(self) -> None:
        for origin in [origin for origin, connection in self._kept.items() if connection.has_expired()]:
            self._kept.pop(origin).close()

    def _open(self, origin: Origin, timeout: float) -> Http1Connection:
        scheme, raw_host, port = origin
        host = raw_host.decode("ascii")
        stream = self._backend.connect_tcp(host, port, timeout)
        if scheme == b"https":
            # ALPN stays unset, so HTTP/1.1 is used: setting it per connection, as httpcore does, frees memory
            # that the handshake of another thread may be reading.
            stream = stream.start_tls(_tls_context(), host, timeout)
        return Http1Connection(stream, self._keepalive_expiry_s)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(os.environ.get("SSL_CERT_FILE") or certifi.where())
    return context
