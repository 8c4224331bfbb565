"""The transport: deadlines, addresses, TLS names."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cutout.network import AddressPolicy, AddressRefused, GuardedTransport, HostList, Timeouts
from cutout.network import connections as kept
from tests.support.machine import scaled
from tests.support.system import wait_until
from tests.worker.wire import answering, deaf, dribbling, read_request, response, serving, silent

CERTIFICATE = Path(__file__).with_name("picture.example.pem")


def get(through: GuardedTransport, url: str, **extensions: Any) -> bytes:
    try:
        answer = through.handle_request(httpx.Request("GET", url, extensions=extensions))
        return b"".join(answer.iter_raw())
    finally:
        through.close()


@pytest.fixture
def name_leads_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let every name resolve to the given addresses; returns the list of the names looked up."""

    def lead(*addresses: str) -> list[str]:
        asked: list[str] = []
        real = socket.getaddrinfo

        def answer(host: str, port: int, *_: object, flags: int = 0, **__: object) -> list[Any]:
            if flags & socket.AI_NUMERICHOST:
                return real(host, port, type=socket.SOCK_STREAM, flags=flags)
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        return asked

    return lead


class TestDeadline:
    @pytest.mark.parametrize("prefix", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
    def test_ends_an_answer_that_is_slow(self, prefix: bytes) -> None:
        """Headers or a body sent byte by byte end with the deadline, though no single read is slow."""
        began = time.monotonic()
        with serving(dribbling(prefix)) as url, pytest.raises(httpx.ReadTimeout):
            get(GuardedTransport(), url, deadline_s=0.4)
        assert 0.3 < time.monotonic() - began < scaled(1.5)

    def test_ends_a_look_up_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name server that does not answer ends with the deadline, not after its own thirty seconds."""
        released = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", _hanging(released))
        began = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout, match="not resolved"):
            get(GuardedTransport(), "http://slow.example/", deadline_s=0.3)
        released.set()
        assert time.monotonic() - began < scaled(1.5)

    def test_ends_a_handshake_that_hangs(self) -> None:
        """A server that accepts the connection and never speaks TLS ends with the deadline."""
        with serving(silent) as url, pytest.raises(httpx.ConnectTimeout):
            get(GuardedTransport(), url.replace("http:", "https:"), deadline_s=0.3)

    def test_ends_a_body_that_is_not_taken(self) -> None:
        """A server that stops reading ends the request with the deadline."""
        with serving(deaf, receive_buffer=4096) as url:
            body = bytes(20_000_000)
            request = httpx.Request("POST", url, content=body, extensions={"deadline_s": 0.4})
            with pytest.raises(httpx.WriteTimeout):
                GuardedTransport().handle_request(request)

    def test_is_the_transports_own_where_the_request_names_none(self) -> None:
        """The total timeout applies to every request without a deadline of its own."""
        with serving(dribbling(b"")) as url, pytest.raises(httpx.ReadTimeout):
            get(GuardedTransport(Timeouts(total=0.3)), url)

    def test_leaves_the_single_timeouts_in_force(self) -> None:
        """A read that is silent for longer than the read timeout ends before the deadline."""
        began = time.monotonic()
        with serving(silent) as url, pytest.raises(httpx.ReadTimeout):
            get(GuardedTransport(Timeouts(read=0.2, total=30)), url)
        assert time.monotonic() - began < scaled(5)


def _hanging(released: threading.Event) -> Callable[..., list[Any]]:
    def look_up(*_: object, flags: int = 0, **__: object) -> list[Any]:
        if not flags & socket.AI_NUMERICHOST:
            released.wait(scaled(10))
        raise socket.gaierror(socket.EAI_NONAME, "no answer")

    return look_up


class TestAddresses:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "[::ffff:127.0.0.1]", "[::1]", "0"],
    )
    def test_every_spelling_of_this_machine_is_refused(self, host: str) -> None:
        """Decimal, octal, hexadecimal and IPv6 spellings are refused for the address they resolve to."""
        with serving(answering(response(b"secret"))) as url, pytest.raises(AddressRefused):
            get(GuardedTransport(policy=AddressPolicy()), url.replace("127.0.0.1", host))

    def test_a_name_with_an_internal_address_is_refused(
        self, name_leads_to: Callable[..., list[str]]
    ) -> None:
        """A public name is refused if any of its addresses is private, before any connection."""
        name_leads_to("93.184.216.34", "127.0.0.1")
        with pytest.raises(AddressRefused):
            get(GuardedTransport(policy=AddressPolicy()), "http://shop.example/")

    def test_a_name_is_resolved_once(self, name_leads_to: Callable[..., list[str]]) -> None:
        """The checked address is the one connected to: no second look-up can answer differently."""
        asked = name_leads_to("127.0.0.1")
        with serving(answering(response(b"picture"))) as url:
            port = url.rpartition(":")[2]
            policy = AddressPolicy(exempt=HostList.parse([f"shop.example:{port}"]))
            assert get(GuardedTransport(policy=policy), f"http://shop.example:{port}/") == b"picture"
        assert asked == ["shop.example"]

    def test_the_next_address_is_tried_when_one_does_not_answer(
        self, name_leads_to: Callable[..., list[str]]
    ) -> None:
        """A host whose first address refuses the connection is reached at its second."""
        name_leads_to("127.0.0.9", "127.0.0.1")
        with serving(answering(response(b"picture"))) as url:
            assert get(GuardedTransport(), url.replace("127.0.0.1", "shop.example")) == b"picture"


class TestKeepAlive:
    @pytest.mark.parametrize(("pause_s", "connections"), [(0.0, 1), (0.8, 2)])
    def test_ends_soon(self, pause_s: float, connections: int) -> None:
        """An idle connection is used again before its expiry, and never after it."""
        seen: list[socket.socket] = []

        def behave(connection: socket.socket) -> None:
            seen.append(connection)
            answering(response())(connection)

        through = GuardedTransport(keepalive_expiry_s=0.5)
        with serving(behave) as url:
            for _ in range(2):
                through.handle_request(httpx.Request("GET", url)).read()
                time.sleep(pause_s)
        through.close()
        assert len(seen) == connections

    def test_is_dropped_when_the_server_has_closed(self) -> None:
        """A kept connection that its server has closed is not used: the request gets a new one."""
        seen: list[socket.socket] = []

        def behave(connection: socket.socket) -> None:
            seen.append(connection)
            read_request(connection)
            connection.sendall(response(b"picture"))
            connection.close()

        through = GuardedTransport()
        with serving(behave) as url:
            for _ in range(2):
                assert through.handle_request(httpx.Request("GET", url)).read() == b"picture"
                time.sleep(0.1)
        through.close()
        assert len(seen) == 2

    def test_is_not_for_an_answer_that_was_not_read(self) -> None:
        """A connection is not used again while its answer is being read, nor after an answer left unread."""
        seen: list[socket.socket] = []

        def behave(connection: socket.socket) -> None:
            seen.append(connection)
            answering(response(bytes(100_000)))(connection)

        through = GuardedTransport()
        with serving(behave) as url:
            unread = through.handle_request(httpx.Request("GET", url))
            through.handle_request(httpx.Request("GET", url)).read()
            unread.close()
            through.handle_request(httpx.Request("GET", url)).read()
        through.close()
        assert len(seen) == 2

    def test_is_for_few_servers_at_a_time(self) -> None:
        """Beyond four servers the connection kept longest is closed, and none is left at the end."""
        ended: list[int] = []

        def behave_as(number: int) -> Callable[[socket.socket], None]:
            def behave(connection: socket.socket) -> None:
                answering(response())(connection)
                ended.append(number)

            return behave

        through = GuardedTransport()
        with ExitStack() as servers:
            for number in range(5):
                url = servers.enter_context(serving(behave_as(number)))
                through.handle_request(httpx.Request("GET", url)).read()
            wait_until(lambda: ended == [0], "the first connection to be closed")
            through.close()
            wait_until(lambda: sorted(ended) == [0, 1, 2, 3, 4], "all connections to be closed")


class TestEnvironment:
    def test_proxies_are_not_read_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy named in the environment is not used."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        with serving(answering(response(b"direct"))) as url:
            assert get(GuardedTransport(), url) == b"direct"


class TestTls:
    @pytest.fixture(autouse=True)
    def _trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        monkeypatch.setattr(kept, "_tls_context", kept._tls_context.__wrapped__)

    def test_the_name_is_sent_though_an_address_is_connected_to(
        self, name_leads_to: Callable[..., list[str]]
    ) -> None:
        """TLS server name and Host header keep the name of the URL."""
        name_leads_to("127.0.0.1")
        names: list[str | None] = []
        with serving(_over_tls(names)) as url:
            body = get(GuardedTransport(), url.replace("http://127.0.0.1", "https://picture.example"))
        assert names == ["picture.example"]
        assert body.startswith(b"host: picture.example:")

    def test_a_certificate_of_another_name_is_refused(self, name_leads_to: Callable[..., list[str]]) -> None:
        """A certificate without the URL's name ends the connection."""
        name_leads_to("127.0.0.1")
        with serving(_over_tls([])) as url, pytest.raises(httpx.ConnectError, match=r"[Hh]ostname mismatch"):
            get(GuardedTransport(), url.replace("http://127.0.0.1", "https://other.example"))


def _over_tls(names: list[str | None]) -> Callable[[socket.socket], None]:
    """Record the TLS server name, and answer with the Host header of the request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            request = secured.recv(65536).decode().lower().split("\r\n")
            secured.sendall(response(next(line for line in request if line.startswith("host:")).encode()))

    return behave
