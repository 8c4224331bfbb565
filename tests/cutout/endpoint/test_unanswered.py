"""Calls without an answer: what was sent, and so what may have been charged."""

import socket
import time
from collections.abc import Callable

import pytest

from cutout.endpoint.answer import Accepted, Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.endpoint_errors import NoAnswer, NotSent
from cutout.images.image import PreparedImage
from cutout.network import Timeouts
from tests.cutout.endpoint.conftest import Sandbox
from tests.support.machine import scaled
from tests.worker.wire import (
    answering,
    closing_after,
    deaf,
    dribbling,
    read_request,
    reset,
    response,
    serving,
    silent,
    stopping_after,
)

IMPATIENT = Timeouts(connect=0.3, write=0.4, read=0.4, total=0.8)
LARGE = PreparedImage(bytes(20_000_000), "image/jpeg", "image.jpg", 1, 1)


def call(base_url: str, image: PreparedImage) -> Accepted | Refused:
    with EndpointClient(base_url, "key", IMPATIENT) as client:
        return client.cut_out(image)


class TestNotSent:
    """The request was not sent completely: repeating it is safe."""

    def test_when_the_connection_is_refused(self, picture: PreparedImage) -> None:
        """No server listens on the port."""
        with pytest.raises(NotSent, match="ConnectError"):
            call("http://127.0.0.1:1", picture)

    def test_when_the_host_is_unknown(self, picture: PreparedImage, monkeypatch: pytest.MonkeyPatch) -> None:
        """The name does not resolve."""
        monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
        with pytest.raises(NotSent, match=r"endpoint\.example cannot be resolved"):
            call("http://endpoint.example", picture)

    def test_when_the_server_speaks_no_tls(self, picture: PreparedImage) -> None:
        """The handshake fails."""
        with serving(closing_after(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url, pytest.raises(NotSent):
            call(url.replace("http:", "https:"), picture)

    def test_when_the_handshake_hangs(self, picture: PreparedImage) -> None:
        """The connect timeout includes TLS."""
        with serving(silent) as url, pytest.raises(NotSent, match="ConnectTimeout"):
            call(url.replace("http:", "https:"), picture)

    def test_when_the_connection_is_reset_midway(self) -> None:
        """The server resets the connection while the body is being written."""

        def behave(connection: socket.socket) -> None:
            connection.recv(1000)
            reset(connection)

        with serving(behave, receive_buffer=4096) as url, pytest.raises(NotSent):
            call(url, LARGE)

    def test_when_the_body_is_not_taken(self) -> None:
        """The server stops reading, and the write timeout passes."""
        with serving(deaf, receive_buffer=4096) as url, pytest.raises(NotSent, match="WriteTimeout"):
            call(url, LARGE)


def _no_such_name(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _reset_after_request(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


class TestNoAnswer:
    """The request was sent completely: a credit may be charged."""

    @pytest.mark.parametrize(
        "behaviour",
        [
            closing_after(),
            _reset_after_request,
            silent,
            stopping_after(b"HTTP/1.1 200 OK\r\n"),
            closing_after(b"HTTP/1.1 200 OK\r\nContent-"),
            closing_after(b"nonsense\r\n\r\n"),
        ],
        ids=["closed", "reset", "silence", "half the headers", "headers cut off", "no HTTP"],
    )
    def test_when_no_whole_answer_comes(
        self, behaviour: Callable[[socket.socket], None], picture: PreparedImage
    ) -> None:
        """Whatever happens instead of an answer, the outcome is unknown."""
        with serving(behaviour) as url, pytest.raises(NoAnswer):
            call(url, picture)

    @pytest.mark.parametrize(
        "prefix", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]
    )
    def test_when_the_answer_trickles_past_the_deadline(self, prefix: bytes, picture: PreparedImage) -> None:
        """Headers or a body byte by byte end with the total deadline."""
        began = time.monotonic()
        with serving(dribbling(prefix)) as url, pytest.raises(NoAnswer):
            call(url, picture)
        assert 0.7 < time.monotonic() - began < scaled(2)

    @pytest.mark.parametrize("body", [b'{"data": ', bytes(2_000_000)], ids=["cut off", "too large"])
    def test_when_a_success_has_no_readable_body(self, body: bytes, picture: PreparedImage) -> None:
        """A 200 with an incomplete or far too large body leaves the charge unknown."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
        with serving(closing_after(head, body)) as url, pytest.raises(NoAnswer, match="200"):
            call(url, picture)

    @pytest.mark.parametrize(
        ("kind", "credits_spent"), [("drop_before", 0), ("drop_after", 1), ("drop_midway", 1)]
    )
    def test_leaves_open_what_only_the_endpoint_knows(
        self, kind: str, credits_spent: int, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage
    ) -> None:
        """A dropped connection looks equal whether or not the call was charged."""
        sandbox.order(kind)
        with pytest.raises(NoAnswer):
            client.cut_out(picture)
        assert sandbox.charged() == credits_spent


class TestNoRepetition:
    def test_a_call_goes_out_once(self, picture: PreparedImage) -> None:
        """After a closed connection the client does not try again by itself."""
        calls: list[int] = []

        def behave(connection: socket.socket) -> None:
            calls.append(len(read_request(connection)))

        with serving(behave) as url, pytest.raises(NoAnswer):
            call(url, picture)
        assert len(calls) == 1


class TestKeepAlive:
    def test_calls_share_a_connection(self, picture: PreparedImage) -> None:
        """A second call soon after the first uses its connection."""
        connections: list[socket.socket] = []

        def behave(connection: socket.socket) -> None:
            connections.append(connection)
            answering(response())(connection)

        with serving(behave) as url, EndpointClient(url, "key") as client:
            client.cut_out(picture)
            client.cut_out(picture)
        assert len(connections) == 1

    def test_a_connection_closed_while_idle_is_replaced(self, picture: PreparedImage) -> None:
        """A connection that the server has closed is detected before anything is sent on it."""
        with serving(closing_after(response())) as url, EndpointClient(url, "key") as client:
            assert isinstance(client.cut_out(picture), Accepted)
            time.sleep(0.05)
            assert isinstance(client.cut_out(picture), Accepted)

    def test_a_connection_closed_under_the_request_is_no_answer(self, picture: PreparedImage) -> None:
        """A reused connection that closes once the request is sent leaves the charge unknown."""

        def behave(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(response())
            read_request(connection)

        with serving(behave) as url, EndpointClient(url, "key") as client:
            client.cut_out(picture)
            with pytest.raises(NoAnswer):
                client.cut_out(picture)
