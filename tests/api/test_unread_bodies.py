"""Bodies that are answered before they came: the answer arrives, and the rest costs next to nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.middleware.lingering_close import Lingering
from api.services import Services
from tests.api.test_hardening import head
from tests.api.test_large_bodies import GARBAGE
from tests.support.machine import scaled
from tests.support.system import wait_until

LENGTH = "Content-Length: 15900000"
CHUNKED = "Transfer-Encoding: chunked"
ENDLESS = 10**9
# What the systems of both ends may keep, and what is read meanwhile.
MOST_TAKEN = 40_000_000
LIST = b'{"name": "b", "jobs": [' + b"[" * 20
REFUSALS = {
    "a list": ("/v1/batches", "application/json", LIST, 422),
    "a small object": ("/v1/jobs", "application/json", b"[" * 20, 413),
    "another route's": ("/v1/schedules", "application/json", b"[" * 20, 413),
    "no route's": ("/v1/nowhere", "application/json", b"[", 413),
    "no body's": ("/healthz", "text/plain", b"[", 413),
    "a manifest without a name": ("/v1/batches?map=x", "text/csv", b"a,b\n", 422),
    "a form of many fields": (
        "/v1/jobs",
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 40,
        400,
    ),
    "another kind": ("/v1/batches", "application/pdf", b"%PDF", 413),
}


@contextmanager
def asked(client: httpx.Client, path: str, *lines: str, start: bytes) -> Iterator[socket.socket]:
    """A connection that has sent the head of a request and the begin of its body."""
    if CHUNKED in lines:
        start = f"{len(start):x}\r\n".encode() + start + b"\r\n" + f"{ENDLESS:x}\r\n".encode()
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=scaled(10)) as connection:
        connection.sendall(head(client, path, *lines) + start)
        yield connection


def answer_on(connection: socket.socket) -> bytes:
    """All that comes until the server ends."""
    said = b""
    while chunk := connection.recv(65536):
        said += chunk
    return said


def push(connection: socket.socket, most: int) -> int:
    """Send blanks until nobody takes them any more; returns how many were taken."""
    taken = 0
    try:
        while taken < most:
            taken += connection.send(b" " * 262_144)
    except OSError:
        pass
    return taken


class TestAnAnswerBeforeTheBody:
    @pytest.fixture(autouse=True)
    def hurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rest of a body has half a second."""
        monkeypatch.setattr(Lingering, "within_s", 0.5)

    @pytest.mark.parametrize("length", [LENGTH, CHUNKED])
    @pytest.mark.parametrize("kind", REFUSALS)
    def test_ends_the_connection(self, shop: httpx.Client, kind: str, length: str) -> None:
        """It says so, and who goes on sending is read slowly and not for long."""
        path, media_type, start, status = REFUSALS[kind]
        lines = (f"Content-Type: {media_type}", length)
        with asked(shop, path, *lines, start=start) as connection:
            if status == 413 and length == CHUNKED:
                connection.sendall(b" " * 70_000)
            said = answer_on(connection)
            assert said.startswith(b"HTTP/1.1 ")
            assert 400 <= int(said.split()[1]) < 500
            assert b"connection: close" in said.lower()
            began = time.monotonic()
            assert push(connection, ENDLESS) < MOST_TAKEN
            assert time.monotonic() - began < scaled(3)

    @pytest.mark.parametrize("kind", ["depth", "jobs", "names"])
    def test_reaches_who_sends_all_before_it_reads(
        self, shop: httpx.Client, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The largest list is sent to its end without an error, and the answer is whole."""
        monkeypatch.setattr(Lingering, "within_s", scaled(10))
        body = GARBAGE[kind]()
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        with asked(shop, "/v1/batches", *lines, start=b"") as connection:
            connection.sendall(body)
            said = answer_on(connection)
        assert said.startswith(b"HTTP/1.1 422")
        assert said.endswith(b"}")

    def test_to_a_look_that_brings_a_body_ends_it_too(self, shop: httpx.Client) -> None:
        """No route reads it."""
        url = shop.base_url
        key = shop.headers["authorization"]
        look = f"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 60000000\r\n\r\n"
        with socket.create_connection((url.host, url.port or 80), timeout=scaled(10)) as connection:
            connection.sendall(look.encode())
            assert b"connection: close" in answer_on(connection).lower()
            assert push(connection, ENDLESS) < MOST_TAKEN

    @pytest.mark.parametrize("path", ["/v1/nowhere", "/v1/schedules", "/healthz"])
    def test_of_a_small_body_keeps_the_connection(self, shop: httpx.Client, path: str) -> None:
        """Its rest is read as before, and the next request is answered."""
        lines = ("Content-Type: application/pdf", "Content-Length: 60000")
        with asked(shop, path, *lines, start=b"") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 4")
            connection.sendall(
                b" " * 60_000 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            assert b"HTTP/1.1 200" in answer_on(connection)

    def test_that_is_a_400_frees_what_the_request_held(
        self, shop: httpx.Client, services_of: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A chunk without a length: the route is told at once that its client has gone."""
        monkeypatch.setattr(Lingering, "within_s", scaled(60))
        lines = ("Content-Type: text/csv", CHUNKED)
        url = shop.base_url
        with socket.create_connection((url.host, url.port or 80), timeout=scaled(10)) as connection:
            connection.sendall(head(shop, "/v1/batches?name=b", *lines) + b"5\r\na,b,c\r\n")
            wait_until(lambda: len(services_of.uploads) == 1, "it is read")
            connection.sendall(b"no length\r\n")
            assert answer_on(connection).startswith(b"HTTP/1.1 400")
            wait_until(lambda: len(services_of.uploads) == 0, "its place is free")

    def test_leaves_nothing_behind(self, shop: httpx.Client) -> None:
        """However many end so, none is counted afterwards."""
        lines = ("Content-Type: application/json", LENGTH)
        for _ in range(5):
            with asked(shop, "/v1/nowhere", *lines, start=b" ") as connection:
                answer_on(connection)
        wait_until(lambda: Lingering._count == 0, "all have ended")
