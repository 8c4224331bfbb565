"""Requests by hand that do not end: what they are given stays taken until they are closed."""

import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import httpx

from tests.support.machine import scaled
from tests.support.system import wait_until


@contextmanager
def half_sent(
    client: httpx.Client, count: int, path: str, *headers: str, start: bytes = b"", method: str = "POST"
) -> Iterator[list[socket.socket]]:
    """So many requests with the client's key, each with the begin of its body, open while it lasts."""
    wanted = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {client.headers['Authorization']}"]
    sent = ("\r\n".join([*wanted, *headers]) + "\r\n\r\n").encode() + start
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            address = (client.base_url.host, client.base_url.port or 80)
            asked = stack.enter_context(socket.create_connection(address, timeout=scaled(10)))
            # A client that does not read is to fill no more than this.
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            asked.sendall(sent)
            opened.append(asked)
        yield opened


def statuses(asked: Iterable[socket.socket], count: int) -> list[int]:
    """The statuses of so many answers, which come while the other requests go on."""
    left, found = list(asked), list[int]()

    def have_come() -> bool:
        ready, _, _ = select.select(left, [], [], 0.05)
        for one in ready:
            left.remove(one)
            found.append(int(one.recv(65536).split()[1]))
        return len(found) >= count

    wait_until(have_come, f"{count} are answered", within_s=scaled(10))
    return found
