"""JSON of the largest size: refused without delay to others, or taken in seconds."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest
from sqlalchemy import Engine, text

from tests.api.conftest import Served, key_for
from tests.api.test_hardening import head
from tests.api.test_jobs import problem_of
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS

JSON = {"Content-Type": "application/json"}
LARGEST = 15_900_000
MOST_JOBS = 10_000
WORST_S = 0.5
MOST_MORE_BYTES = 300_000_000


def a_list(count: int, address: str = "https://shop.example/p/{}.jpg") -> bytes:
    jobs = [{"external_id": f"SKU-{n}", "source_url": address.format(n)} for n in range(count)]
    return json.dumps({"name": "large", "jobs": jobs}).encode()


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    return begin + unit * (LARGEST // len(unit)) + end


GARBAGE: dict[str, Callable[[], bytes]] = {
    "jobs": lambda: filled(b'{"name":"a","jobs":[', b'{"a":1},', b"{}]}"),
    "names": lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(1_200_000)) + b"}",
    "names of a job": lambda: filled(b'{"name":"a","jobs":[{', b'"a":1,', b'"b":1}]}'),
    "depth": lambda: filled(b"", b"[", b""),
    "depth and width": lambda: filled(b'{"name":"a","jobs":[', b"[[[[[[[[[[]]]]]]]]]],", b"1]}"),
    "a text": lambda: filled(b'{"name":"', b"x", b'"}'),
    "a text of escapes": lambda: filled(b'{"name":"', b"\\u202e", b'"}'),
    "a name of a member": lambda: filled(b'{"', b"\xc3\xa4", b'":1}'),
    "digits": lambda: filled(b'{"name":', b"9", b"}"),
    "numbers": lambda: filled(b'{"name":"a","jobs":[', b"1,", b"1]}"),
    "blanks": lambda: filled(b"", b" \n", b""),
    "colons": lambda: filled(b"", b": ", b""),
    "quotes": lambda: filled(b"", b'""', b""),
    "no JSON": lambda: filled(b"", b"\xff\x00", b""),
    "columns": lambda: b'{"name":"a","map":{' + b",".join(b'"k%d":""' % n for n in range(1_200_000)) + b"}}",
    "a fault in the last job": lambda: (
        a_list(MOST_JOBS - 1, "https://shop.example/" + "p" * 1450 + "{}")[:-2] + b',{"external_id":"x"}]}'
    ),
    "each job at fault": lambda: a_list(MOST_JOBS, "ftp://shop.example/" + "p" * 1450 + "{}"),
}


@contextmanager
def watched(served: Served) -> Iterator[dict[str, float]]:
    """The longest that /healthz took meanwhile, in seconds, and the most bytes the process had beyond."""
    process, found, done = psutil.Process(served.process.pid), {"worst": 0.0, "more": 0.0}, threading.Event()
    before = process.memory_info().rss

    def look() -> None:
        with httpx.Client(base_url=served.url, timeout=60, verify=NO_TLS) as client:
            while not done.is_set():
                began = time.monotonic()
                assert client.get("/healthz").is_success
                found["worst"] = max(found["worst"], time.monotonic() - began)
                found["more"] = max(found["more"], process.memory_info().rss - before)
                done.wait(0.005)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield found
    finally:
        done.set()
        looker.join()


@pytest.fixture
def shop(served: Served, engine: Engine) -> Iterator[httpx.Client]:
    """A producer of the API in a process of its own."""
    with httpx.Client(base_url=served.url, timeout=60, verify=NO_TLS) as client:
        client.headers.update(key_for(engine, "shop"))
        yield client


class TestTheLargestBody:
    @pytest.mark.long("sixteen megabytes of each kind of garbage; one kind is in the first tier")
    @pytest.mark.parametrize("kind", GARBAGE)
    def test_that_is_garbage_delays_nobody(self, shop: httpx.Client, served: Served, kind: str) -> None:
        """Whatever there is too much of: a 422, others are answered meanwhile, and memory stays bounded."""
        body = GARBAGE[kind]()
        with watched(served) as found:
            problem_of(shop.post("/v1/batches", content=body, headers=JSON), 422)
        assert found["worst"] < scaled(WORST_S)
        assert found["more"] < MOST_MORE_BYTES

    def test_of_millions_of_jobs_delays_nobody(self, shop: httpx.Client, served: Served) -> None:
        """It is refused at the first job too many, by that name."""
        body = GARBAGE["jobs"]()
        with watched(served) as found:
            problem = problem_of(shop.post("/v1/batches", content=body, headers=JSON), 422)
        assert problem["type"].endswith("too-many-jobs")
        assert found["worst"] < scaled(WORST_S)
        assert found["more"] < MOST_MORE_BYTES

    def test_of_good_jobs_is_taken_in_seconds(self, shop: httpx.Client, served: Served) -> None:
        """Ten thousand, well before a client gives up after 30 s; others are answered meanwhile."""
        began = time.monotonic()
        with watched(served) as found:
            answer = shop.post("/v1/batches", content=a_list(MOST_JOBS), headers=JSON)
        took = time.monotonic() - began
        assert (answer.status_code, answer.json()["total"]) == (201, MOST_JOBS)
        assert took < scaled(5)
        assert found["worst"] < scaled(WORST_S)

    def test_sent_again_meanwhile_is_done_once(
        self, shop: httpx.Client, engine: Engine, served: Served
    ) -> None:
        """A client that gave up waiting sends it anew without a key: 409 while the first is carried out."""
        body = a_list(1000)
        answers: list[httpx.Response] = []

        def post() -> None:
            with httpx.Client(base_url=served.url, timeout=60, verify=NO_TLS, headers=shop.headers) as client:
                answers.append(client.post("/v1/batches", content=body, headers=JSON))

        with engine.connect() as connection:
            # Whoever enqueues asks how far its producer's line has come, and holds its request meanwhile.
            connection.execute(text("LOCK TABLE shares IN ACCESS EXCLUSIVE MODE"))
            first = threading.Thread(target=post)
            first.start()
            deadline = time.monotonic() + scaled(10)
            waits = text(
                "SELECT count(*) FROM pg_locks WHERE relation = 'shares'::regclass AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            while not connection.scalar(waits):
                assert time.monotonic() < deadline, "it was never begun"
                time.sleep(0.01)
            again = shop.post("/v1/batches", content=body, headers=JSON)
            assert problem_of(again, 409)["type"].endswith("idempotency-key-in-use")
            connection.rollback()
        first.join()
        assert [answer.status_code for answer in answers] == [201]


class TestPlaces:
    def test_are_two_for_a_producer(self, client: httpx.Client, engine: Engine) -> None:
        """A third large request under way is a 429 with a time to wait; others' and small ones are taken."""
        shop, other = key_for(engine, "shop"), key_for(engine, "other")
        body = a_list(1000, "https://shop.example/" + "p" * 100 + "{}")
        with self.held(client, shop, body), self.held(client, shop, body) as second:
            refused = self.until_refused(client, shop, body)
            assert problem_of(refused, 429)["type"].endswith("too-many-at-once")
            assert int(refused.headers["retry-after"]) > 0
            few = {"name": "b", "jobs": []}
            assert client.post("/v1/batches", json=few, headers=shop).status_code == 201
            # It was read as large and refused for what is in it: small bounds hold in this app.
            assert client.post("/v1/batches", content=body, headers=other | JSON).status_code == 422
            second.close()
        deadline = time.monotonic() + scaled(10)
        while client.post("/v1/batches", content=body, headers=shop | JSON).status_code == 429:
            assert time.monotonic() < deadline, "no place came back"
            time.sleep(0.05)

    @contextmanager
    def held(self, client: httpx.Client, key: dict[str, str], body: bytes) -> Iterator[socket.socket]:
        """A connection that has sent all of its large body but the end."""
        lines = ("Content-Type: application/json", f"Content-Length: {len(body) + 100_000}")
        client.headers["authorization"] = key["Authorization"]
        url = client.base_url
        # Blanks: nothing in them is refused before the body is whole.
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(head(client, "/v1/batches", *lines) + b" " * len(body))
            del client.headers["authorization"]
            yield connection

    def until_refused(self, client: httpx.Client, key: dict[str, str], body: bytes) -> httpx.Response:
        deadline = time.monotonic() + scaled(10)
        while True:
            answer = client.post("/v1/batches", content=body, headers=key | JSON)
            if answer.status_code == 429:
                return answer
            assert time.monotonic() < deadline, "it was never refused"


class TestAQuery:
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/healthz", "/nowhere"])
    def test_of_thousands_of_fields_is_refused(self, client: httpx.Client, path: str) -> None:
        """Before it is taken apart, whoever asks and whatever for."""
        problem = problem_of(client.get(f"{path}?{'a&' * 5000}"), 422)
        assert "200 fields" in problem["detail"]

    def test_of_many_bytes_is_refused(self, client: httpx.Client) -> None:
        """A look needs no such filter."""
        assert "8192 bytes" in problem_of(client.get(f"/v1/jobs?code={'%41' * 3000}"), 422)["detail"]

    def test_of_many_patterns_is_taken(self, client: httpx.Client, engine: Engine) -> None:
        """As many as a manifest may have."""
        patterns = "&".join(f"include=a{n}&exclude=b{n}" for n in range(50))
        headers = key_for(engine, "shop") | {"Content-Type": "text/csv"}
        path = f"/v1/batches?name=n&{patterns}"
        assert client.post(path, content=b"external_id,source\n", headers=headers).status_code == 202


class TestAHeader:
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/schedules"])
    def test_that_names_the_kind_is_bounded(self, client: httpx.Client, engine: Engine, path: str) -> None:
        """Its parameters are never taken apart."""
        for kind in ("multipart/form-data; boundary=x", "application/json", "text/csv"):
            headers = key_for(engine, "shop") | {"Content-Type": kind + ";" * 20_000}
            problem_of(client.post(path, content=b"{}", headers=headers), 415)

    def test_of_many_tags_is_read_in_part(self, client: httpx.Client, engine: Engine) -> None:
        """The first fifty; what comes behind them is as if it were not there."""
        key = key_for(engine, "shop")
        job = client.post("/v1/jobs", json={"source_url": "https://shop.example/a"}, headers=key).json()["id"]
        tag = client.get(f"/v1/jobs/{job}", headers=key).headers["etag"]
        for before, status in ((49, 304), (50, 200)):
            tags = 'W/"x",' * before + tag
            found = client.get(f"/v1/jobs/{job}", headers=key | {"If-None-Match": tags})
            assert found.status_code == status


class TestASmallBody:
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/schedules"])
    @pytest.mark.parametrize(
        "body",
        [b'{"a":{' + b'"k":1,' * 10_000 + b'"k":1}}', b'{"a":[' + b"1," * 30_000 + b"1]}", b"[" * 60_000],
        ids=["members", "items", "depth"],
    )
    def test_is_bounded_too(self, client: httpx.Client, engine: Engine, path: str, body: bytes) -> None:
        """On every route that takes JSON: what is too wide is told as such, and no value is built."""
        answer = client.post(path, content=body, headers=key_for(engine, "shop") | JSON)
        assert "more than" in problem_of(answer, 422)["detail"]
