"""Requests without a key that is known: cheap for the process, and bounded."""

import gzip
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import h11
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event

from api import key_cache
from api.client_address import client_address
from api.key_cache import network_of
from api.server import BoundedConnection
from api.services import Services
from cutout.settings import Settings
from tests.api.conftest import key_for, serve
from tests.api.test_hardening import raw
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.machine import scaled


def made_up() -> dict[str, str]:
    """The header of a key as a real one looks."""
    return {"Authorization": f"Bearer cutout_{secrets.token_urlsafe(32)}"}


@contextmanager
def looked_up() -> Iterator[list[str]]:
    """The statements that ask for keys while it lasts."""
    asked: list[str] = []

    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "api_keys" in statement:
            asked.append(statement)

    event.listen(Engine, "before_cursor_execute", seen)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", seen)


class TestAWrongKey:
    @pytest.mark.parametrize(
        "text",
        ["x", "cutout_", "cutout_short", "cutout_" + "a" * 44, "CUTOUT_" + "a" * 43, "cutout_" + "é" * 43],
    )
    def test_that_cannot_be_one_costs_no_query(self, client: httpx.Client, text: str) -> None:
        """Prefix, length and characters are looked at first."""
        with looked_up() as asked:
            headers = {"Authorization": f"Bearer {text}".encode("latin-1")}
            problem_of(client.get("/v1/jobs", headers=headers), 401)  # type: ignore[arg-type]
        assert asked == []

    def test_sent_again_costs_one_query_a_second(self, client: httpx.Client) -> None:
        """For looking and for posting."""
        headers = made_up()
        began = time.monotonic()
        with looked_up() as asked:
            for _ in range(10):
                problem_of(client.get("/v1/jobs", headers=headers), 401)
                problem_of(client.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers), 401)
        assert 1 <= len(asked) <= 1 + (time.monotonic() - began)

    def test_is_refused_unasked_after_too_many(self, client: httpx.Client, engine: Engine) -> None:
        """429 says when to come back; who has a key goes on, and a new key is known at once elsewhere."""
        known = key_for(engine, "shop")
        assert client.get("/v1/jobs", headers=known).status_code == 200
        began, taken = time.monotonic(), 0
        refused: list[httpx.Response] = []
        with looked_up() as asked:
            # On a busy machine it takes more of them, since some are allowed every second.
            while not refused or taken + len(refused) < 80:
                answer = client.get("/v1/jobs", headers=made_up())
                if answer.status_code == 429:
                    refused.append(answer)
                else:
                    taken += 1
        most = 50 + 5 * (time.monotonic() - began) + 1
        assert len(asked) <= most
        assert taken <= most
        assert problem_of(refused[0], 429)["type"].endswith("too-many-wrong-keys")
        assert int(refused[0].headers["retry-after"]) >= 1
        for _ in range(30):
            assert client.get("/v1/jobs", headers=known).status_code == 200
        assert client.post("/v1/jobs", json={"source_url": SOURCE}, headers=known).status_code == 201

    def test_of_many_addresses_is_bounded_for_all(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the address that a proxy tells, one does not use another's up; all together have a bound."""
        monkeypatch.setattr(key_cache, "MISSES_OF_AN_ADDRESS", 0.2)
        monkeypatch.setattr(key_cache, "MISSES_OF_ALL", 0.5)

        def status(client: httpx.Client, address: str) -> int:
            headers = made_up() | {"X-Forwarded-For": address}
            return client.get("/v1/jobs", headers=headers).status_code

        with serve(settings) as client:
            one = [status(client, "192.0.2.1") for _ in range(4)]
            assert (one[:2], one[-1]) == ([401, 401], 429)
            assert status(client, "192.0.2.2") == 401
            assert 429 in [status(client, f"192.0.2.{n}") for n in range(3, 13)]

    def test_that_becomes_valid_is_known_a_second_later(
        self, client: httpx.Client, engine: Engine, services_of: Services
    ) -> None:
        """A key that is known gives back what its first look took."""
        for name in ("a", "b"):
            assert client.get("/v1/jobs", headers=key_for(engine, name)).status_code == 200
        assert services_of.keys._of_all._buckets[key_cache.EVERYBODY].tokens > 199


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
        ("testclient", "other", True),
        ("192.0.2.1\x1b[2K", "testclient", True),
    ],
)
def test_an_address_is_counted_with_its_network(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a case
    """A line of IPv6 has 2^64 addresses: they count as one. So does all that is no address."""
    ones, others = (network_of(client_address({"client": (text, 1)})) for text in (one, other))
    assert (ones == others) == same


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%\x1b[2Kadmin", "fe80::1"),
        ("\x1b[2K192.0.2.1", ""),
        ("10.0.0.1 by key 1", ""),
        ("", ""),
    ],
)
def test_an_address_is_nothing_but_an_address(given: str, address: str) -> None:
    """Text that a proxy passes on of a client reaches the logs of those who operate this."""
    assert client_address({"client": (given, 1)}) == address
    assert client_address({"client": None}) == ""


class TestAHead:
    @pytest.mark.parametrize("size", [33_000, 40_000, 200_000])
    def test_that_is_too_long_is_refused_in_one_piece(self, client: httpx.Client, size: int) -> None:
        """Whether in one header, in many, or in the address."""
        for head in (
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nA: {'a' * size}\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * (size // 6) + "\r\n",
            f"GET /healthz?{'a' * size} HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            assert raw(client, head.encode()).startswith(b"HTTP/1.1 431")

    def test_behind_another_request_is_bounded_too(self, client: httpx.Client) -> None:
        """The second of two in one piece."""
        first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        second = f"GET /healthz HTTP/1.1\r\nHost: x\r\nA: {'a' * 40_000}\r\n\r\n"
        said = raw(client, first + second.encode())
        assert (said.count(b"200 OK"), said.count(b"HTTP/1.1 431")) == (1, 1)

    def test_of_32_kb_is_taken(self, client: httpx.Client) -> None:
        """As the operations page says."""
        head = f"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: {'a' * 32_000}\r\n\r\n"
        assert raw(client, head.encode()).startswith(b"HTTP/1.1 200")

    @pytest.mark.parametrize(("count", "status"), [(98, b"200"), (99, b"431"), (5000, b"431")])
    def test_has_100_headers_at_most(self, client: httpx.Client, count: int, status: bytes) -> None:
        """However short they are: 5,000 would take 28 ms to take apart. The answer is a problem."""
        lines = "Host: x\r\nConnection: close\r\n" + "a:b\r\n" * count
        answer = raw(client, f"GET /healthz HTTP/1.1\r\n{lines}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert (b"head-too-large" in answer) == (status == b"431")

    def test_has_trailers_of_as_many(self) -> None:
        """They are read whether or not anybody asks for the body."""
        begin = "POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        connection = BoundedConnection()
        connection.receive_data((begin + "a:b\r\n" * 200 + "\r\n").encode())
        assert isinstance(connection.next_event(), h11.Request)
        with pytest.raises(h11.RemoteProtocolError, match="too many headers"):
            connection.next_event()

    @pytest.mark.parametrize(
        "lines",
        [
            ["Accept-Encoding: gzip" + ";" * 31_000],
            ["Accept-Encoding: " + "gzip;q=1," * 3000],
            ["Accept-Encoding: gzip" + ";" * 300] * 90,
            ["Accept: " + "text/plain;" * 2800],
            ['If-None-Match: *, "' + "a" * 31_000 + '"'],
        ],
    )
    def test_with_a_long_list_is_taken_as_if_without(self, client: httpx.Client, lines: list[str]) -> None:
        """Reading so much would take milliseconds of everybody's."""
        head = "\r\n".join(["GET /openapi.json HTTP/1.1", "Host: x", "Connection: close", *lines])
        answer = raw(client, f"{head}\r\n\r\n".encode()).partition(b"\r\n\r\n")[0]
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"content-encoding" not in answer.lower()


class TestHosts:
    @pytest.mark.parametrize("path", ["/v1/jobs/", "/healthz/", "/v1/batches/", "/docs/"])
    def test_a_slash_too_many_leads_nowhere(self, client: httpx.Client, path: str) -> None:
        """No redirect to whatever host the request names."""
        for method in ("GET", "POST"):
            answer = client.request(method, path, headers={"Host": "evil.example"})
            assert problem_of(answer, 404)["type"].endswith("not-found")
            assert "location" not in answer.headers

    @pytest.mark.parametrize(
        ("host", "taken"),
        [
            ("cutout.example", True),
            ("CUTOUT.example:8443", True),
            ("eu.shop.example", True),
            ("[2001:db8::1]:80", True),
            ("shop.example", False),
            ("evilshop.example", False),
            ("evil.example", False),
            ("cutout.example.evil.example", False),
            ("", False),
        ],
    )
    def test_that_are_not_named_are_refused(self, settings: Settings, host: str, taken: bool) -> None:  # noqa: FBT001 - a case
        """421, but for the balancer's question, which comes by the address."""
        hosts = ("cutout.example", "*.shop.example", "[2001:db8::1]")
        with serve(settings.model_copy(update={"api_hosts": hosts})) as client:
            answer = client.get("/v1/jobs", headers={"Host": host})
            assert answer.status_code == (401 if taken else 421)
            if not taken:
                assert problem_of(answer, 421)["type"].endswith("wrong-host")
            assert client.get("/healthz", headers={"Host": host}).status_code == 200


class TestTheDocs:
    def test_load_nothing_from_elsewhere_and_run_no_script(self, client: httpx.Client) -> None:
        """Every route and schema is on the page, which has its own style alone."""
        answer = client.get("/docs")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        for word in ("http", "unsafe", "script-src", "*"):
            assert word not in policy
        for word in ("<script", "//cdn", "src=", "@import", "url("):
            assert word not in answer.text
        document = client.get("/openapi.json").json()
        for path, operations in document["paths"].items():
            for method in operations.keys() - {"head", "options"}:
                assert f"{method.upper()} {path}</h2>" in answer.text
        for name in document["components"]["schemas"]:
            assert f'<h2 id="{name}">' in answer.text

    @pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
    def test_are_made_once(
        self, client: httpx.Client, app: FastAPI, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever asks, and however often: plain and packed are kept, each with a strong tag."""
        made: list[str] = []
        monkeypatch.setattr(app, "openapi", lambda: made.append("the document"))
        monkeypatch.setattr(gzip, "compress", lambda *_: made.append("a copy"))
        tags = set()
        for coding in ("identity", "gzip"):
            headers = {"Accept-Encoding": coding}
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers.get("content-encoding", "identity")) == (200, coding)
            assert answer.headers["vary"] == "Accept-Encoding"
            assert answer.headers["cache-control"] == "no-cache"
            tags.add(answer.headers["etag"])
            for method in ("GET", "HEAD"):
                again = client.request(
                    method, path, headers=headers | {"If-None-Match": answer.headers["etag"]}
                )
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == answer.headers["etag"]
                assert again.headers["vary"] == "Accept-Encoding"
        assert len(tags) == 2
        assert all(tag.startswith('"') for tag in tags)
        assert made == []

    def test_have_no_other_page(self, client: httpx.Client) -> None:
        """Nothing of the framework's own."""
        for path in ("/redoc", "/docs/oauth2-redirect"):
            problem_of(client.get(path), 404)


def test_a_flood_of_wrong_keys_does_not_slow_who_has_one(client: httpx.Client, engine: Engine) -> None:
    """ReadPool for keys that are unknown have threads and connections of their own."""
    known = key_for(engine, "shop")
    assert client.get("/v1/jobs", headers=known).status_code == 200
    for _ in range(100):
        client.get("/v1/jobs", headers=made_up())
    began = time.monotonic()
    assert client.post("/v1/jobs", json={"source_url": SOURCE}, headers=known).status_code == 201
    assert time.monotonic() - began < scaled(0.5)
