"""The egress proxy: connections beyond the operator's own network go through it, by CONNECT.

It is asked for an address that was resolved and checked here, never for a name: what may be connected to
stays this program's decision, and a name server's second answer has no effect.
"""

import base64
import functools
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

import httpcore

from cutout.network.fetch_errors import EgressUnavailable, NotReached
from cutout.network.stream import seconds_left

# A proxy that connected somebody so recently works: what it cannot reach is the server's fault. Shorter than
# the delays between a few tries, so that an outage does not use them up before it is noticed.
WORKED_WITHIN_S = 10.0
MOST_HEAD_BYTES = 16_384
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
# It could not reach the server, or not in time.
UNREACHED = {502, 503, 504}
# Other statuses from 400 to 499 refuse this server. These and all the rest are the proxy's own: its login is
# wrong, or it is too slow or too busy.
REFUSES_ALL = {407, 408, 429}


class _Health:
    """When the proxy last connected somebody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worked_at = -WORKED_WITHIN_S

    def worked(self) -> None:
        with self._lock:
            self._worked_at = time.monotonic()

    def works(self) -> bool:
        with self._lock:
            return time.monotonic() - self._worked_at < WORKED_WITHIN_S


@dataclass(frozen=True)
class EgressProxy:
    """An HTTP proxy that tunnels connections. One for each process and address, shared by its threads."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)
    _health: _Health = field(default_factory=_Health, repr=False, compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `http://user:password@host:port`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ValueError("is no address of a proxy; write http://user:password@host:port")
        if parts.query or parts.fragment or re.search(r"\s", url):
            raise ValueError("is no address of a proxy; write http://user:password@host:port")
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        given = parts.username is not None or parts.password is not None
        encoded = f"Basic {base64.b64encode(login.encode()).decode()}" if given else None
        return cls(parts.hostname, parts.port, encoded)

    def connect(self, address: str, port: int, timeout: float | None) -> socket.socket:
        """Open a tunnel to the address.

        Raises EgressUnavailable if the proxy is at fault, or may be; NotReached if it works and does not
        reach the server, or refuses to connect to it.
        """
        try:
            sock = socket.create_connection(
                (self.host, self.port), seconds_left(timeout, httpcore.ConnectTimeout)
            )
        except OSError as error:
            raise EgressUnavailable(
                f"the egress proxy takes no connection ({type(error).__name__})"
            ) from None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open(sock, address, port, timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    def _open(self, sock: socket.socket, address: str, port: int, timeout: float | None) -> None:
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: cutout"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        try:
            sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
            status = _read_status(sock, timeout)
        except TimeoutError:
            raise self._unreached("did not answer in time") from None
        except OSError as error:
            raise EgressUnavailable(f"the egress proxy broke off ({type(error).__name__})") from None
        if 200 <= status < 300:  # noqa: PLR2004 - success
            self._health.worked()
            return
        if status in UNREACHED:
            raise self._unreached(f"answered {status}")
        if 400 <= status < 500 and status not in REFUSES_ALL:  # noqa: PLR2004 - the client's errors
            raise NotReached(
                f"the egress proxy answered {status} to CONNECT: it refuses this server or its port {port};"
                " allow it there, or use another address"
            )
        raise EgressUnavailable(f"the egress proxy answered {status} to CONNECT")

    def _unreached(self, what: str) -> Exception:
        """The server's fault if the proxy connected somebody lately, else nobody knows whose."""
        if self._health.works():
            return NotReached(f"the egress proxy {what}: it does not reach the server")
        return EgressUnavailable(f"the egress proxy {what}, and has reached nobody lately", maybe_server=True)


@functools.cache
def egress_proxy(url: str | None) -> EgressProxy | None:
    """The proxy at this address, the same for all threads; None without one."""
    return EgressProxy.parse(url) if url else None


def _read_status(sock: socket.socket, timeout: float | None) -> int:
    """Read the answer's head, which nothing follows: behind a tunnel the client speaks first."""
    ends_at = None if timeout is None else time.monotonic() + float(timeout)
    head = b""
    while b"\r\n\r\n" not in head:
        left = seconds_left(timeout, httpcore.ConnectTimeout)
        if ends_at is not None and left is not None:
            left = min(left, ends_at - time.monotonic())
        if left is not None and left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(4096)
        head += piece
        if not piece or len(head) > MOST_HEAD_BYTES:
            raise ConnectionAbortedError
    found = STATUS.match(head)
    if found is None:
        raise ConnectionAbortedError
    status = int(found[1])
    if status < 300 and head.index(b"\r\n\r\n") + 4 < len(head):  # noqa: PLR2004 - success
        raise ConnectionAbortedError
    return status
