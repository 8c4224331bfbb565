"""The egress proxy: what it is asked for, and whose fault it is when there is no connection."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

import httpx
import pytest

from cutout.endpoint.client import EndpointClient
from cutout.endpoint.endpoint_errors import NotSent
from cutout.enums import Step
from cutout.network import (
    AddressPolicy,
    AddressRefused,
    EgressProxy,
    EgressUnavailable,
    GuardedTransport,
    HostList,
    NotReached,
    Timeouts,
    egress_proxy,
)
from cutout.network import connections as kept
from cutout.network.egress_proxy import WORKED_WITHIN_S
from cutout.queue.backoff import BACKOFF
from tests.cutout.network.test_transport import CERTIFICATE, _over_tls, get
from tests.support.connect_proxy import ConnectProxy, Way
from tests.support.machine import scaled
from tests.worker.wire import answering, response, serving

PUBLIC = "93.184.216.34"
IMPATIENT = Timeouts(connect=0.4, total=5.0)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses of names, as a name server has them."""
    known = {"shop.example": [PUBLIC], "picture.example": [PUBLIC], "inside.example": ["127.0.0.1"]}
    real = socket.getaddrinfo

    def answer(host: str, port: int, *_: object, flags: int = 0, **__: object) -> list[Any]:
        if flags & socket.AI_NUMERICHOST or host not in known:
            return real(host, port, type=socket.SOCK_STREAM, flags=flags)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


@pytest.fixture
def shop() -> Iterator[int]:
    """A server whose name is public; gives its port of loopback."""
    with serving(answering(response(b"picture"))) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def proxy(shop: int) -> Iterator[ConnectProxy]:
    """A proxy that reaches the shop at its public address."""
    with ConnectProxy({f"{PUBLIC}:80": shop}) as running:
        yield running


def through(proxy: ConnectProxy, **options: Any) -> GuardedTransport:
    return GuardedTransport(
        options.pop("timeouts", None),
        policy=AddressPolicy(HostList.parse(options.pop("private", []))),
        proxy=EgressProxy.parse(proxy.url),
    )


@pytest.mark.usefixtures("names")
class TestWhatItIsAskedFor:
    def test_the_checked_address(self, proxy: ConnectProxy) -> None:
        """It gets the address that was resolved and checked here; the name stays in the Host header."""
        assert get(through(proxy), "http://shop.example/") == b"picture"
        assert proxy.asked == [f"{PUBLIC}:80"]
        assert "shop.example" not in proxy.heads[0]

    def test_an_address_of_six_parts_in_brackets(self, proxy: ConnectProxy, shop: int) -> None:
        """IPv6 is written as RFC 9110 has it."""
        proxy.routes["[2606:2800:220:1::1]:80"] = shop
        assert get(through(proxy), "http://[2606:2800:220:1::1]/") == b"picture"

    @pytest.mark.parametrize("host", ["inside.example", "127.0.0.1", "169.254.169.254", "[::1]", "0x7f.1"])
    def test_nothing_that_is_not_public(self, proxy: ConnectProxy, host: str) -> None:
        """An internal address is refused before the proxy hears of it, by name or by number."""
        with pytest.raises(AddressRefused):
            get(through(proxy), f"http://{host}/")
        assert not proxy.asked

    def test_a_second_answer_of_the_name_server_has_no_effect(
        self, proxy: ConnectProxy, names: dict[str, list[str]]
    ) -> None:
        """A name with one internal address among public ones is refused whole."""
        names["shop.example"] = [PUBLIC, "10.0.0.1"]
        with pytest.raises(AddressRefused):
            get(through(proxy), "http://shop.example/")
        assert not proxy.asked

    def test_a_private_host_is_reached_without_it(self, proxy: ConnectProxy, shop: int) -> None:
        """A host that the operator names as private is inside: a proxy out has nothing to do with it."""
        url = f"http://inside.example:{shop}/"
        assert get(through(proxy, private=[f"inside.example:{shop}"]), url) == b"picture"
        assert not proxy.asked

    def test_the_next_address(self, proxy: ConnectProxy, names: dict[str, list[str]]) -> None:
        """A host whose first address the proxy does not reach, as of IPv6, is reached at its second."""
        names["shop.example"] = ["93.184.216.35", PUBLIC]
        assert get(through(proxy), "http://shop.example/") == b"picture"
        assert proxy.asked == ["93.184.216.35:80", f"{PUBLIC}:80"]

    def test_one_connection_for_many_requests(self, proxy: ConnectProxy) -> None:
        """A tunnel is kept open as a connection is."""
        with closing(through(proxy)) as transport:
            for _ in range(3):
                answer = transport.handle_request(httpx.Request("GET", "http://shop.example/"))
                with closing(answer):
                    assert answer.read() == b"picture"
        assert len(proxy.asked) == 1

    def test_the_environment_names_none(self, shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Variables of other programs are not read."""
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        private = AddressPolicy(HostList.parse(["127.0.0.1"]))
        assert get(GuardedTransport(policy=private), f"http://127.0.0.1:{shop}/") == b"picture"


@pytest.mark.usefixtures("names")
class TestLogin:
    def test_is_sent_to_the_proxy_alone(self, shop: int) -> None:
        """User and password go to the proxy, percent-encoded or not, and not through the tunnel."""
        with ConnectProxy({f"{PUBLIC}:80": shop}, login="me:p%40ss") as proxy:
            assert get(through(proxy), "http://shop.example/") == b"picture"
            assert "Proxy-Authorization: Basic bWU6cEBzcw==" in proxy.heads[0]

    def test_is_in_no_text(self) -> None:
        """Neither the text of the proxy nor an error shows the password."""
        proxy = EgressProxy.parse("http://me:hidden-word@127.0.0.1:1")
        transport = GuardedTransport(policy=AddressPolicy(), proxy=proxy)
        with pytest.raises(EgressUnavailable) as found:
            get(transport, "http://shop.example/")
        assert "hidden-word" not in f"{proxy!r} {found.value!r} {found.value}"
        assert found.value.__cause__ is None

    @pytest.mark.parametrize(
        "url", ["https://proxy:3128", "proxy:3128", "http://proxy", "http://proxy:0", "http://proxy:3128/way"]
    )
    def test_another_address_is_refused(self, url: str) -> None:
        """Only http with a port is understood."""
        with pytest.raises(ValueError, match="write http://user:password@host:port"):
            EgressProxy.parse(url)


@pytest.mark.usefixtures("names")
class TestFaults:
    @pytest.mark.parametrize(
        "way",
        [Way.DROP, Way.HANG, Way.DRIBBLE, Way.GARBAGE, Way.CHATTER, 301, 407, 408, 429, 500, 502, 503, 504],
    )
    def test_are_the_proxys_while_it_has_connected_nobody(self, proxy: ConnectProxy, way: Way | int) -> None:
        """Whatever it does instead of a tunnel, nothing is said about the server, and it ends in time."""
        proxy.way = way
        began = time.monotonic()
        with pytest.raises(EgressUnavailable, match="the egress proxy") as found:
            get(through(proxy, timeouts=IMPATIENT), "http://shop.example/")
        assert found.value.maybe_server == (way in {Way.HANG, Way.DRIBBLE, 502, 503, 504})
        assert time.monotonic() - began < scaled(2.0)

    @pytest.mark.parametrize("way", [502, 504, Way.HANG])
    def test_are_the_servers_once_it_works(self, proxy: ConnectProxy, way: Way | int) -> None:
        """A proxy that connected others a moment ago, and not this server, speaks of the server."""
        with closing(through(proxy, timeouts=IMPATIENT)) as transport:
            assert get(transport, "http://shop.example/") == b"picture"
            proxy.way = way
            with pytest.raises(NotReached, match="does not reach the server"):
                get(transport, "http://shop.example/")

    def test_are_the_proxys_soon_after_it_worked_last(
        self, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The time in which faults count as servers' is over before a job could use up its tries."""
        call = BACKOFF[Step.CALL]
        assert call.tries is not None
        soonest = sum(call.first_seconds * 2**n / 2 for n in range(call.tries - 1))
        assert soonest > WORKED_WITHIN_S + Timeouts().connect
        monkeypatch.setattr(import_module("cutout.network.egress_proxy"), "WORKED_WITHIN_S", 0.2)
        with closing(through(proxy)) as transport:
            get(transport, "http://shop.example/")
            proxy.way = 502
            time.sleep(0.3)
            with pytest.raises(EgressUnavailable, match="has reached nobody lately"):
                get(transport, "http://shop.example/")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 451])
    def test_are_the_servers_where_its_address_is_refused(self, proxy: ConnectProxy, status: int) -> None:
        """A list of what is allowed speaks of this server and its port, also if nobody was connected yet."""
        proxy.way = status
        with pytest.raises(NotReached, match=f"answered {status} to CONNECT: .* its port 80; allow it"):
            get(through(proxy), "http://shop.example/")

    @pytest.mark.parametrize(
        ("code", "kind"), [(socket.EAI_AGAIN, NotReached), (socket.EAI_NONAME, httpx.ConnectError)]
    )
    def test_of_a_name_server_without_an_answer_may_be_an_outage(
        self, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
    ) -> None:
        """A name that it does not know now is tried again after minutes; a name that is none is not."""
        real = socket.getaddrinfo

        def fail(host: str, *given: Any, **named: Any) -> Any:
            if host != "lost.example":
                return real(host, *given, **named)
            raise socket.gaierror(code, "no answer")

        transport = through(proxy)
        monkeypatch.setattr("cutout.network.backend.socket.getaddrinfo", fail)
        with pytest.raises(kind, match=r"lost\.example cannot be resolved"):
            get(transport, "http://lost.example/")

    @pytest.mark.parametrize("way", [Way.DROP, 407, 429])
    def test_stay_the_proxys_where_it_refuses_all(self, proxy: ConnectProxy, way: Way | int) -> None:
        """A login that is refused, or a proxy that is too busy, says nothing of the server."""
        with closing(through(proxy)) as transport:
            get(transport, "http://shop.example/")
            proxy.way = way
            with pytest.raises(EgressUnavailable):
                get(transport, "http://shop.example/")

    def test_a_proxy_that_is_not_there(self) -> None:
        """Nobody listens."""
        transport = GuardedTransport(policy=AddressPolicy(), proxy=EgressProxy.parse("http://127.0.0.1:1"))
        with pytest.raises(EgressUnavailable, match="takes no connection"):
            get(transport, "http://shop.example/")

    def test_health_is_shared_by_threads(self, proxy: ConnectProxy) -> None:
        """All threads of a process know of one proxy."""
        found: list[EgressProxy | None] = []
        thread = threading.Thread(target=lambda: found.append(egress_proxy(proxy.url)))
        thread.start()
        thread.join()
        assert found[0] is egress_proxy(proxy.url)
        assert egress_proxy(None) is None

    def test_an_error_leaves_no_socket(self, proxy: ConnectProxy) -> None:
        """A refused tunnel is closed: a warning about an open socket would fail this test."""
        proxy.way = 407
        for _ in range(3):
            with pytest.raises(EgressUnavailable):
                get(through(proxy), "http://shop.example/")


class TestTls:
    def test_keeps_the_name(self, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        """TLS is with the server through the tunnel: its name is sent and its certificate is checked."""
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        monkeypatch.setattr(kept, "_tls_context", kept._tls_context.__wrapped__)
        seen: list[str | None] = []
        with serving(_over_tls(seen)) as url:
            port = int(url.rpartition(":")[2])
            with ConnectProxy({f"{PUBLIC}:443": port}) as proxy:
                assert get(through(proxy), "https://picture.example/") == b"host: picture.example"
                names["other.example"] = [PUBLIC]
                with pytest.raises(httpx.ConnectError, match=r"[Hh]ostname mismatch"):
                    get(through(proxy), "https://other.example/")
        assert seen[0] == "picture.example"


class TestTheEndpoint:
    def test_goes_through_a_proxy_of_its_own(self, shop: int) -> None:
        """A call goes through CUTOUT_ENDPOINT_PROXY; one that the proxy does not connect was not sent."""
        with ConnectProxy({f"{PUBLIC}:80": shop}) as proxy:
            with EndpointClient(f"http://{PUBLIC}", "key", proxy=proxy.url) as client:
                client.credits()
            assert proxy.asked == [f"{PUBLIC}:80"]
            proxy.way = 407
            with (
                EndpointClient(f"http://{PUBLIC}", "key", proxy=proxy.url) as client,
                pytest.raises(NotSent, match="answered 407 to CONNECT; see CUTOUT_ENDPOINT_PROXY"),
            ):
                client.credits()
