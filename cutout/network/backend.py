"""Backend for connecting: a host is resolved once, its addresses are checked, and one of them is used."""

import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import httpcore

from cutout.network.egress_proxy import EgressProxy
from cutout.network.fetch_errors import EgressUnavailable, NotReached
from cutout.network.ip_addresses import AddressPolicy
from cutout.network.stream import DeadlineStream, seconds_left

# The name server has no answer now; others say that there is no such name.
AT_PRESENT = {socket.EAI_AGAIN, socket.EAI_FAIL}

_Address = tuple[int, tuple[Any, ...]]  # the family, and what `socket.connect` takes


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to the checked addresses only, so that a later, different DNS answer has no effect.

    TLS and the Host header keep the name. With a proxy it tunnels to the checked address; a host that the
    operator exempts from the check is inside, and reached directly.
    """

    def __init__(self, policy: AddressPolicy | None, proxy: EgressProxy | None = None) -> None:
        self._policy = policy
        self._proxy = proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - httpcore's signature
    ) -> DeadlineStream:
        addresses = self._resolved(host, port, timeout)
        if self._policy is not None:
            self._policy.check(host, port, [str(address[0]) for _, address in addresses])
        proxy = self._proxy_for(host, port)
        failure: Exception = httpcore.ConnectError("no address")
        for family, address in addresses:
            try:
                if proxy is not None:
                    return DeadlineStream(proxy.connect(str(address[0]), port, timeout))
                return DeadlineStream(_connect(family, address, timeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout, NotReached, EgressUnavailable) as error:
                failure = error
            except TimeoutError as error:
                failure = httpcore.ConnectTimeout(str(error))
            except OSError as error:
                failure = httpcore.ConnectError(str(error))
        raise failure

    def _proxy_for(self, host: str, port: int) -> EgressProxy | None:
        exempt = self._policy is not None and self._policy.exempt.allows(host, port)
        return None if exempt else self._proxy

    def _resolved(self, host: str, port: int, timeout: float | None) -> list[_Address]:
        try:
            return _resolve(host, port, timeout)
        except (OSError, ValueError) as error:
            unresolved = f"{host} cannot be resolved: {error}"
            # An outage behind the proxy takes the name server's own servers away as well.
            if self._proxy_for(host, port) and getattr(error, "errno", None) in AT_PRESENT:
                raise NotReached(unresolved) from None
            raise httpcore.ConnectError(unresolved) from None
        except httpcore.ConnectTimeout as error:
            if self._proxy_for(host, port):
                raise NotReached(str(error)) from None
            raise


def _connect(family: int, address: tuple[Any, ...], timeout: float | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds_left(timeout, httpcore.ConnectTimeout))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int, timeout: float | None) -> list[_Address]:
    try:  # any spelling of an address that the system accepts: 127.1, 0x7f000001, 2130706433
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        answers = _look_up(host, port, timeout)
    return [(answer[0], answer[4]) for answer in answers]


def _look_up(host: str, port: int, timeout: float | None) -> list[Any]:
    # In a thread: the resolver takes no timeout, and a dead name server blocks it for 30 s.
    answers: Future[list[Any]] = Future()

    def resolve() -> None:
        try:
            answers.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            answers.set_exception(error)

    threading.Thread(target=resolve, name=f"resolve {host}", daemon=True).start()
    try:
        return answers.result(seconds_left(timeout, httpcore.ConnectTimeout))
    except TimeoutError:  # also a resolver's own
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
