"""Tests of one HTTP connection: bodies of every length and framing, and what may be read on it next."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import httpx
import pytest

from cutout.network import GuardedTransport
from cutout.network.http1 import PIECE_BYTES, WHOLE_BYTES


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one answer a request, on as few connections as it can; its URL and requests."""
    requests: list[bytes] = []
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while left:
                # The client may close its end at any time.
                with suppress(OSError), listening.accept()[0] as connection:
                    while left and (request := read_request(connection)):
                        requests.append(request)
                        connection.sendall(left.pop(0))

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/picture", requests


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request or (b"Content-Length: 4" in request and not request.endswith(b"data")):
        if not (data := connection.recv(65536)):
            return b""
        request += data
    return request


def answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(transport: GuardedTransport, url: str) -> bytes:
    with closing(transport.handle_request(httpx.Request("GET", url))) as response:
        return response.read()


@pytest.fixture
def transport() -> Iterator[GuardedTransport]:
    with closing(GuardedTransport()) as made:
        yield made


class TestABody:
    @pytest.mark.parametrize(
        "size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, WHOLE_BYTES, 2 * WHOLE_BYTES + 1]
    )
    def test_of_any_length_comes_whole(self, transport: GuardedTransport, size: int) -> None:
        body = bytes(n % 251 for n in range(size))
        with server(answer(body), answer(b"next")) as (url, _):
            assert get(transport, url) == body
            assert get(transport, url) == b"next"

    @pytest.mark.parametrize("size", [1, PIECE_BYTES + 1])
    def test_that_breaks_off_is_an_error(self, transport: GuardedTransport, size: int) -> None:
        with (
            server(answer(b"x" * size)[:-1]) as (url, _),
            pytest.raises(httpx.RemoteProtocolError, match="1 bytes too early"),
        ):
            get(transport, url)

    def test_in_chunks_is_read_to_its_end(self, transport: GuardedTransport) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        with server(chunked, answer(b"next")) as (url, _):
            assert get(transport, url) == b"abcde"
            assert get(transport, url) == b"next"

    def test_without_a_length_ends_with_the_connection(self, transport: GuardedTransport) -> None:
        with server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc") as (url, _):
            assert get(transport, url) == b"abc"

    @pytest.mark.parametrize("status", [204, 304])
    def test_is_not_awaited_where_none_can_be(self, transport: GuardedTransport, status: int) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\n".encode()
        with server(head, answer(b"next")) as (url, _):
            assert get(transport, url) == b""
            assert get(transport, url) == b"next"

    def test_of_two_lengths_is_refused(self, transport: GuardedTransport) -> None:
        with (
            server(answer(b"abc", "Content-Length: 4")) as (url, _),
            pytest.raises(httpx.RemoteProtocolError),
        ):
            get(transport, url)


class TestTheNextRequest:
    def test_does_not_get_an_answer_that_came_unasked(self, transport: GuardedTransport) -> None:
        """A server, or who is between, sent more than the body: the connection is closed."""
        with server(answer(b"first") + answer(b"unasked"), answer(b"second")) as (url, _):
            assert get(transport, url) == b"first"
            assert get(transport, url) == b"second"

    def test_opens_a_connection_after_a_body_that_was_not_read(self, transport: GuardedTransport) -> None:
        with server(answer(b"x" * 3 * PIECE_BYTES), answer(b"second")) as (url, _):
            transport.handle_request(httpx.Request("GET", url)).close()
            assert get(transport, url) == b"second"

    def test_skips_answers_that_only_inform(self, transport: GuardedTransport) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"body")
        with server(early, answer(b"next")) as (url, _):
            assert get(transport, url) == b"body"
            assert get(transport, url) == b"next"


class TestAnExchange:
    def test_sends_what_httpx_would(self, transport: GuardedTransport) -> None:
        with server(answer(b"stored", "ETag: x")) as (url, requests):
            sent = transport.exchange("PUT", f"{url}/a%20b?c=d", {"x-amz-meta-job": "1"}, b"data")
            with closing(sent) as got:
                assert (got.status, got.header("etag"), b"".join(got.pieces())) == (200, "x", b"stored")
        host = url.split("/")[2]
        head, body = b"".join(requests).split(b"\r\n\r\n")
        expected = (
            f"PUT /picture/a%20b?c=d HTTP/1.1\r\nHost: {host}\r\nx-amz-meta-job: 1\r\nContent-Length: 4"
        )
        assert (head.decode(), body) == (expected, b"data")

    def test_refuses_a_header_that_would_begin_another(self, transport: GuardedTransport) -> None:
        with server() as (url, _), pytest.raises(httpx.LocalProtocolError):
            transport.exchange("GET", url, {"x-amz-meta-job": "1\r\nx: y"})
