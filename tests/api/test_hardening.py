"""Bad input of every kind: the right 4xx, quickly, and nothing stored half."""

import logging
import socket
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, text

from api.middleware.lingering_close import Lingering
from api.middleware.slow_clients import SlowClients
from api.server import BoundedProtocol
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.api.conftest import key_for, serve
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.machine import scaled

JSON = {"Content-Type": "application/json"}
DEEP = b"[" * 50_000
HUGE = b"9" * 5000


def stored(engine: Engine) -> int:
    """Jobs and batches in the database."""
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM batches)")
        )
        return int(found.scalar_one())


def raw(client: httpx.Client, *pieces: bytes, rest_s: float = 0.0) -> bytes:
    """The server's answer to these bytes, sent in pieces with pauses."""
    url = client.base_url
    said = b""
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        for n, piece in enumerate(pieces):
            time.sleep(rest_s if n else 0)
            try:
                connection.sendall(piece)
            except OSError:
                break
        try:
            while chunk := connection.recv(65536):
                said += chunk
        except ConnectionResetError:
            pass
    return said


def head(client: httpx.Client, path: str, *lines: str) -> bytes:
    """The head of a POST with the client's key."""
    key = client.headers.get("authorization", "")
    wanted = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {key}", *lines]
    return ("\r\n".join(wanted) + "\r\n\r\n").encode()


class TestAJsonBody:
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
    @pytest.mark.parametrize(
        "body",
        [
            DEEP,
            b'{"name":' * 2000 + b"1" + b"}" * 2000,
            b'{"name": "b", "weight": ' + HUGE + b"}",
            b'{"name": "b", "budget": ' + HUGE + b"}",
            b'{"name": "b", "weight": 1e400}',
            b'{"name": "b", "weight": NaN}',
            b'{"name": "b", "weight": -Infinity}',
            b'{"name": "b", "weight": 1e-300}',
            b'{"name": "b", "weight": true}',
            b'{"name": "b", "budget": "7"}',
            b'{"name": "\xff\xfe"}',
            b'{"name": "a\\u0000b", "source_url": "https://a/b", "external_id": "a\\u0000b"}',
            b'{"name": "\\ud800", "source_url": "https://a/b", "external_id": "\\ud800"}',
            b'{"name": "b", "jobs": [{"external_id": "\\udfff", "source_url": "https://a/b"}]}',
            b'{"name": "b", "jobs": {"a": 1}}',
            b'\xef\xbb\xbf{"name": 1}',
            b"[]",
            b"null",
            b"7",
            b'"x"',
            b"",
            b" ",
            "{}".encode("utf-16"),
        ],
        ids=range(23),
    )
    def test_that_is_wrong_is_a_422(self, shop: httpx.Client, engine: Engine, path: str, body: bytes) -> None:
        """Depth, size, bytes, types and text that cannot be: named as such, within a second."""
        began = time.monotonic()
        problem_of(shop.post(path, content=body, headers=JSON), 422)
        assert time.monotonic() - began < scaled(2)
        assert stored(engine) == 0

    def test_may_say_a_thing_twice(self, shop: httpx.Client) -> None:
        """The last one counts, as with most readers."""
        body = b'{"name": "first", "name": "last"}'
        assert shop.post("/v1/batches", content=body, headers=JSON).json()["name"] == "last"

    @pytest.mark.parametrize("kind", ["application/pdf", "application/x-www-form-urlencoded", ""])
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
    def test_of_another_kind_is_a_415(self, shop: httpx.Client, engine: Engine, path: str, kind: str) -> None:
        """The problem says what is taken."""
        answer = shop.post(path, content=b'{"name": "b"}', headers={"Content-Type": kind} if kind else {})
        assert "application/json" in problem_of(answer, 415)["detail"]
        assert stored(engine) == 0

    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/nowhere"])
    def test_of_100_mb_is_refused_by_its_length(self, shop: httpx.Client, path: str) -> None:
        """Nobody reads it, whether or not the path is known."""
        lines = ("Content-Type: application/json", "Content-Length: 100000000")
        answer = raw(shop, head(shop, path, *lines, "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"body-too-large" in answer

    def test_without_a_length_is_cut_off_where_it_is_too_large(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """Chunks count as they come."""

        def chunks() -> Iterator[bytes]:
            for _ in range(300):
                yield b" " * 1000

        problem_of(shop.post("/v1/jobs", content=chunks(), headers=JSON), 413)
        assert stored(engine) == 0


class TestText:
    @pytest.mark.parametrize(
        "external_id",
        [
            "../../etc/passwd",
            "/etc/passwd",
            "..",
            "a/../../b",
            "..\\..\\x",
            "%2e%2e%2f",
            "x" * 255,
            "\u2728/",
        ],
    )
    def test_of_an_id_never_leaves_its_place_in_the_bucket(
        self, shop: httpx.Client, external_id: str
    ) -> None:
        """It is taken as it stands; tests/cutout/storage/test_object_keys.py has its object keys."""
        answer = shop.post("/v1/jobs", json={"source_url": SOURCE, "external_id": external_id})
        assert answer.status_code == 201
        assert answer.json()["external_id"] == external_id

    @pytest.mark.parametrize("end", ["\r\nSet-Cookie: a=b", "\nX: y", "\u0085", "\u0000", "\u001b[31m"])
    def test_with_the_end_of_a_header_is_refused(self, shop: httpx.Client, engine: Engine, end: str) -> None:
        """No text of a producer can become a header or steer a terminal."""
        problem_of(shop.post("/v1/jobs", json={"source_url": SOURCE, "external_id": f"a{end}"}), 422)
        problem_of(shop.post("/v1/batches", json={"name": f"a{end}"}), 422)
        problem_of(shop.post("/v1/jobs", json={"source_url": f"{SOURCE}{end}"}), 422)
        assert stored(engine) == 0

    @pytest.mark.parametrize(
        "path", ["/v1/jobs/%00", "/v1/batches/%0d%0aX:y", "/v1/jobs/..%2f..%2fetc", "/v1/jobs/'"]
    )
    def test_of_a_path_is_no_id(self, shop: httpx.Client, path: str) -> None:
        """404 or 422, as a problem."""
        answer = shop.get(path)
        problem_of(answer, answer.status_code)
        assert answer.status_code in (404, 422)


class TestAnUpload:
    def test_half_sent_leaves_nothing(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """The client goes away in the middle of its picture: no job, no object, no error in the log."""
        start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        lines = ("Content-Type: multipart/form-data; boundary=x", "Content-Length: 900000")
        url = shop.base_url
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(head(shop, "/v1/jobs", *lines) + start + b"x" * 500_000)
        time.sleep(0.3)
        assert shop.get("/healthz").status_code == 200
        assert (stored(engine), bucket.keys("")) == (0, [])

    # starlette leaves the file of a part without an end to the garbage collector, which closes it at once.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize(
        "body",
        [
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\nabc',
            b"--x\r\n\r\nabc\r\n--x--",
            b"nonsense",
            b"--x--",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\na\r\n' * 3 + b"--x--",
            b'--x\r\nContent-Disposition: form-data; name="external_id"\r\n\r\n'
            + b"y" * 20_000
            + b"\r\n--x--",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 30 + b"--x--",
            b"--x\r\n" + b"A: b\r\n" * 5000,
        ],
        ids=range(8),
    )
    def test_in_a_broken_form_is_refused(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, body: bytes
    ) -> None:
        """No end, no name, several files, long fields, many fields, many headers."""
        answer = shop.post(
            "/v1/jobs", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        problem_of(answer, answer.status_code)
        assert answer.status_code in (400, 422)
        assert (stored(engine), bucket.keys("")) == (0, [])

    def test_without_a_boundary_is_refused(self, shop: httpx.Client) -> None:
        """As a problem."""
        problem_of(shop.post("/v1/jobs", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)

    def test_needs_a_key_before_it_is_read(self, client: httpx.Client) -> None:
        """A client without a key is refused before it sends a byte of the picture."""
        lines = ("Content-Type: multipart/form-data; boundary=x", "Content-Length: 900000")
        assert raw(client, head(client, "/v1/jobs", *lines, "Connection: close")).startswith(b"HTTP/1.1 401")


class TestAnAddress:
    def test_that_is_unknown_is_a_404(self, shop: httpx.Client) -> None:
        """As a problem, whatever the method."""
        for method in ("GET", "POST", "DELETE", "OPTIONS", "PATCH"):
            assert problem_of(shop.request(method, "/v1/nowhere"), 404)["type"].endswith("not-found")

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PROPFIND"])
    def test_with_a_wrong_method_is_a_405(self, shop: httpx.Client, method: str) -> None:
        """The header Allow says which there are."""
        answer = shop.request(method, "/v1/batches")
        problem_of(answer, 405)
        assert "POST" in answer.headers["allow"]

    def test_names_all_its_methods(self, shop: httpx.Client) -> None:
        """Also where several routes share it."""
        answer = shop.put(f"/v1/schedules/{uuid.UUID(int=1)}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")

    def test_of_another_producer_is_a_404(self, shop: httpx.Client, engine: Engine) -> None:
        """Not a 403, which would say that it is there."""
        job = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
        other = key_for(engine, "other")
        unknown = problem_of(shop.get(f"/v1/jobs/{uuid.UUID(int=1)}", headers=other), 404)
        foreign = problem_of(shop.get(f"/v1/jobs/{job}", headers=other), 404)
        assert unknown["type"] == foreign["type"]


class TestASlowClient:
    @pytest.fixture
    def hurried(
        self, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[httpx.Client]:
        """The app with little patience."""
        monkeypatch.setattr(BoundedProtocol, "head_within_s", 0.5)
        monkeypatch.setattr(BoundedProtocol, "read_within_s", 0.5)
        monkeypatch.setattr(Lingering, "within_s", 0.5)
        monkeypatch.setattr(SlowClients, "grace_s", 0.5)
        with serve(settings) as client:
            client.headers.update(key_for(engine, "shop"))
            yield client

    @pytest.mark.parametrize("pieces", [[b""], [b"G"], [b"GET /healthz HTTP/1.1\r\n", *[b"A: b\r\n"] * 20]])
    def test_that_never_ends_its_head_is_cut_off(self, hurried: httpx.Client, pieces: list[bytes]) -> None:
        """Whether it says nothing or a little at a time."""
        began = time.monotonic()
        assert raw(hurried, *pieces, rest_s=0.1) == b""
        assert time.monotonic() - began < scaled(3)

    def test_that_never_ends_its_body_gets_a_408(self, hurried: httpx.Client, engine: Engine) -> None:
        """The time that a body may take grows with what came of it, so that a trickle does not last."""
        lines = ("Content-Type: application/json", "Content-Length: 1000")
        began = time.monotonic()
        said = raw(hurried, head(hurried, "/v1/jobs", *lines), *[b" "] * 15, rest_s=0.1)
        assert said.startswith(b"HTTP/1.1 408")
        assert b"too-slow" in said
        assert time.monotonic() - began < scaled(5)
        assert stored(engine) == 0

    def test_has_a_bound_for_the_whole_body(
        self, settings: Settings, engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long its bytes would be waited for at the least rate; of a manifest nothing is stored."""
        monkeypatch.setattr(SlowClients, "whole_within_s", 0.5)
        with serve(settings) as client:
            client.headers.update(key_for(engine, "shop"))
            for path, kind in (("/v1/batches?name=b", "text/csv"), ("/v1/jobs", "application/json")):
                lines = (f"Content-Type: {kind}", "Content-Length: 60000")
                began = time.monotonic()
                said = raw(client, head(client, path, *lines), *[b" " * 100] * 12, rest_s=0.1)
                assert said.startswith(b"HTTP/1.1 408")
                assert b"longer than 0.5 s" in said
                assert time.monotonic() - began < scaled(5)
        assert (stored(engine), bucket.keys("")) == (0, [])

    def test_may_rest_between_two_requests(self, hurried: httpx.Client) -> None:
        """A connection that is kept alive is not taken for a slow one."""
        get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert raw(hurried, get, get, get, last, rest_s=0.3).count(b"200 OK") == 4

    def test_that_sends_a_body_nobody_wants_is_cut_off(self, hurried: httpx.Client) -> None:
        """After its answer it may not go on for ever."""
        lines = ("Content-Type: application/json", "Content-Length: 100000000")
        began = time.monotonic()
        said = raw(hurried, head(hurried, "/v1/jobs", *lines), *[b" " * 1000] * 40, rest_s=0.1)
        assert said.startswith(b"HTTP/1.1 413")
        assert time.monotonic() - began < scaled(3)

    def test_that_does_not_read_its_answer_is_cut_off(self, hurried: httpx.Client, engine: Engine) -> None:
        """The results of a large batch are not kept ready for a reader that is gone; Postgres is let go."""
        batch = hurried.post("/v1/batches", json={"name": "b"}).json()["id"]
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO jobs"
                    " (batch_id, producer_id, source, state, virtual_start, finished_at, code)"
                    " SELECT b.id, b.producer_id, 's', 'failed', 0, now(), 'X' FROM batches b,"
                    " generate_series(1, 60000)"
                )
            )
        url = hurried.base_url
        wanted = f"GET /v1/batches/{batch}/results HTTP/1.1\r\nHost: x\r\n"
        wanted += f"Authorization: {hurried.headers['authorization']}\r\n\r\n"
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(wanted.encode())
            deadline = time.monotonic() + scaled(10)
            while _reading(engine) == 0:
                assert time.monotonic() < deadline, "it was never begun"
                time.sleep(0.01)
            while _reading(engine):
                assert time.monotonic() < deadline, "it is still being read"
                time.sleep(0.05)


def _reading(engine: Engine) -> int:
    with engine.connect() as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state IN ('idle in transaction', 'active') AND pid <> pg_backend_pid()"
        )
        return int(connection.execute(text(query)).scalar_one())


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/v1/jobs/x", "/healthz", "/nowhere", "/openapi.json", "/docs"])
    def test_has_headers_that_keep_browsers_harmless(self, shop: httpx.Client, path: str) -> None:
        """No sniffing, no scripts, no referrer, no cache, no word of the server; no leave for other sites."""
        headers = shop.get(path, headers={"Origin": "https://evil.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"
        # The document is the same for everybody; a cache asks whether it is still that one.
        is_public = path in ("/openapi.json", "/docs")
        assert headers["cache-control"] == ("no-cache" if is_public else "no-store")
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control-")]


def test_nothing_of_a_request_is_logged(
    settings: Settings, engine: Engine, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """At level INFO: neither the key, nor the address of a source, nor a link to a result."""
    bucket.put_cutout(b"picture", key="cutouts/a.png", media_type="image/png", metadata={})
    headers = key_for(engine, "shop")
    caplog.set_level(logging.INFO)
    with serve(settings) as client:
        caplog.clear()
        body = {"source_url": "https://shop.example/a.jpg?token=hush", "external_id": "secret-sku"}
        job = client.post("/v1/jobs", json=body, headers=headers).json()["id"]
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(),"
                    " key = 'cutouts/a.png', sha256 = 'x', media_type = 'image/png', size_bytes = 7,"
                    " width = 1, height = 1"
                )
            )
        link = client.get(f"/v1/jobs/{job}/result", headers=headers).headers["location"]
        assert httpx.get(link).content == b"picture"
    # What the client of this test says is not ours.
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    signature = link.partition("X-Amz-Signature=")[2]
    for secret in (headers["Authorization"].split()[1], "hush", signature):
        assert not [line for line in ours if secret in line]
