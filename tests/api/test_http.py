"""Methods, media types, codings and headers, as HTTP has them, whatever the route."""

import asyncio
import gzip
import json
import threading
import uuid

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from api.middleware.compression import INLINE_BYTES
from api.operations import operations_of
from api.services import Services
from tests.api.conftest import key_for, producer_of
from tests.api.test_hardening import raw
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled

# They differ from one request to the next.
OF_THE_REQUEST = {"date", "x-request-id", "ratelimit", "connection"}
ID = uuid.UUID(int=1)
PAGES = ["/healthz", "/readyz", "/openapi.json", "/docs"]


def new_job(shop: httpx.Client) -> str:
    job_id: str = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
    return job_id


def shown(answer: httpx.Response) -> dict[str, str]:
    """The headers that two answers to the same request share."""
    return {name: value for name, value in answer.headers.items() if name not in OF_THE_REQUEST}


class TestHead:
    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_has_the_headers_of_get_at_every_route(
        self, shop: httpx.Client, app: FastAPI, engine: Engine, coding: str
    ) -> None:
        """And no body, for what is there and what is not, compressed or not."""
        batch = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        job = shop.get("/v1/jobs").json()["data"][0]["id"]
        for template, operations in app.openapi()["paths"].items():
            if "get" not in operations:
                continue
            path = template.format(
                batch_id=batch, job_id=job, name="rgba", schedule_id=ID, run_id=ID, endpoint_id=ID
            )
            if path.endswith("/events"):
                continue
            headers = {"Accept-Encoding": coding}
            head, get = shop.head(path, headers=headers), shop.get(path, headers=headers)
            assert (head.status_code, head.content) == (get.status_code, b""), path
            if get.status_code < 300:
                assert shown(head) == shown(get), path

    @pytest.mark.parametrize("path", PAGES)
    def test_is_known_where_no_key_is_needed(self, client: httpx.Client, path: str) -> None:
        """By probes and by those who read the document."""
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content, shown(head)) == (200, b"", shown(get))

    def test_of_a_stream_takes_no_place_and_ends_at_once(
        self, shop: httpx.Client, services_of: Services, engine: Engine
    ) -> None:
        """Its batch is not finished, and all streams are taken."""
        batch = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        places = services_of.events.places
        places.most, before = 0, places.most
        try:
            head = shop.head(f"/v1/batches/{batch}/events")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"].startswith("text/event-stream")
            problem_of(shop.get(f"/v1/batches/{batch}/events"), 503)
        finally:
            places.most = before

    def test_needs_the_key_that_get_needs(self, client: httpx.Client) -> None:
        """401 without one."""
        assert client.head("/v1/jobs").status_code == 401


class TestOptions:
    def test_names_the_methods_of_every_route_without_a_key(self, client: httpx.Client, app: FastAPI) -> None:
        """204, and as many as the document has."""
        for template, operations in app.openapi()["paths"].items():
            path = template.replace("{", "").replace("}", "")
            answer = client.options(path)
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["allow"] == ", ".join(sorted(method.upper() for method in operations))

    def test_of_no_address_names_those_of_all(self, client: httpx.Client) -> None:
        """`OPTIONS *` asks for the server itself."""
        said = raw(client, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 204")
        assert b"allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST" in said


class TestAProblem:
    def test_has_the_id_of_its_request(self, shop: httpx.Client) -> None:
        """The one that came, or the one that was made."""
        for given in ({"X-Request-ID": "order-4471"}, {}):
            answer = shop.get(f"/v1/jobs/{ID}", headers=given)
            assert answer.json()["instance"] == f"urn:cutout:request:{answer.headers['x-request-id']}"
        assert shop.get("/v1/x", headers={"X-Request-ID": "a.b"}).json()["instance"].endswith(":a.b")

    @pytest.mark.parametrize(
        ("request_text", "status", "kind"),
        [
            ("GET /healthz HTTP/1.1\r\nBad Name: x\r\nHost: x\r\n\r\n", 400, "bad-request"),
            ("GET /healthz HTTP/1.1\r\n\r\n", 400, "bad-request"),
            ("nonsense\r\n\r\n", 400, "bad-request"),
            ("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400, "bad-request"),
            (
                "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                501,
                "unsupported-transfer-coding",
            ),
            (f"GET /healthz HTTP/1.1\r\nHost: x\r\nA: {'a' * 40_000}\r\n\r\n", 431, "head-too-large"),
        ],
    )
    def test_answers_what_is_no_request(
        self, client: httpx.Client, request_text: str, status: int, kind: str
    ) -> None:
        """As a document with an id, as any other; and without a byte of what was sent."""
        head, _, body = raw(client, request_text.encode()).partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"content-type: application/problem+json" in head
        problem = json.loads(body)
        assert problem["type"] == f"urn:cutout:problem:{kind}"
        assert problem["instance"].removeprefix("urn:cutout:request:").encode() in head
        assert "remedy" in problem
        assert b"x-content-type-options: nosniff" in head

    def test_answers_a_broken_body(self, shop: httpx.Client) -> None:
        """Chunks that are none."""
        key = shop.headers["authorization"]
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Type: application/json\r\n"
        )
        said = raw(shop, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), b"zz\r\n", rest_s=0.2)
        assert said.startswith(b"HTTP/1.1 400")
        assert b"urn:cutout:problem:bad-request" in said

    def test_of_an_unknown_address_names_it(self, shop: httpx.Client) -> None:
        """And the slash too many, and the methods that it has."""
        assert "'/v1/job'" in problem_of(shop.get("/v1/job"), 404)["detail"]
        assert "slash" in problem_of(shop.get("/v1/jobs/"), 404)["detail"]
        refused = problem_of(shop.put("/v1/jobs"), 405)
        assert "PUT" in refused["detail"]
        assert "GET, HEAD, OPTIONS, POST" in refused["detail"]


class TestTheQuery:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/jobs?stat=failed"),
            ("GET", f"/v1/jobs/{ID}?wiat=3"),
            ("GET", "/v1/whoami?x=1"),
            ("POST", f"/v1/jobs/{ID}/cancel?force=true"),
            ("DELETE", f"/v1/jobs/{ID}?object=true"),
            ("POST", "/v1/batches?nam=b"),
            ("HEAD", "/v1/jobs?stat=failed"),
        ],
    )
    def test_has_known_parameters_alone(self, shop: httpx.Client, method: str, path: str) -> None:
        """422 names the unknown one and those that there are."""
        answer = shop.request(method, path)
        assert answer.status_code == 422
        if method != "HEAD":
            name = path.partition("?")[2].partition("=")[0]
            assert answer.json()["field"] == name
            assert "takes" in problem_of(answer, 422)["detail"]

    def test_has_each_once_but_lists(self, shop: httpx.Client) -> None:
        """A second `limit` says another thing than the first; a second `state` adds one."""
        assert problem_of(shop.get("/v1/jobs?limit=1&limit=2"), 422)["field"] == "limit"
        assert shop.get("/v1/jobs?state=failed&state=held").status_code == 200
        for query, status in (("return_form=rgba&return_form=mask", 202), ("name=c", 422)):
            csv = {"Content-Type": "text/csv"}
            path = f"/v1/batches?name=b&{query}"
            assert shop.post(path, content=b"external_id,source\n", headers=csv).status_code == status

    def test_of_a_form_has_each_once_but_lists(self, shop: httpx.Client, photo: bytes) -> None:
        """Fields of an upload likewise."""
        for name, values, status in (
            ("priority", ["bulk", "normal"], 422),
            ("outputs", ["amazon", "ebay"], 201),
            ("colour", ["red"], 422),
        ):
            files = {"image": ("a.jpg", photo)}
            answer = shop.post("/v1/jobs", data={name: values}, files=files)
            assert answer.status_code == status, name

    def test_is_known_of_every_route(self, app: FastAPI) -> None:
        """Also of those with parameters that the framework does not know."""
        operations = operations_of(app)
        assert {"include", "exclude", "outputs", "return_form"} == set(
            operations.at("/v1/batches", "POST").query.lists
        )
        assert operations.at("/v1/jobs", "POST").form.lists == ["outputs"]


class TestWhatIsSent:
    @pytest.mark.parametrize("kind", ["application/json", "text/csv"])
    def test_is_not_coded(self, shop: httpx.Client, kind: str) -> None:
        """415 with the codings that are taken; a gzip file as a manifest is content."""
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        answer = shop.post("/v1/batches?name=b", content=gzip.compress(b"{}"), headers=headers)
        assert problem_of(answer, 415)["field"] == "Content-Encoding"
        assert answer.headers["accept-encoding"] == "identity"
        plain = {"Content-Type": "application/gzip", "Content-Encoding": "identity"}
        packed = gzip.compress(b"external_id,source\n")
        assert shop.post("/v1/batches?name=b", content=packed, headers=plain).status_code == 202

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("application/json; charset=latin-1", 415),
            ("application/json;charset=utf-16", 415),
            ('application/json; charset="UTF-8"', 201),
            ("application/json;charset=utf8", 201),
        ],
    )
    def test_as_json_is_utf_8(self, shop: httpx.Client, kind: str, status: int) -> None:
        """Another charset would be read as if it were."""
        body = json.dumps({"source_url": SOURCE}).encode()
        assert shop.post("/v1/jobs", content=body, headers={"Content-Type": kind}).status_code == status


class TestAccept:
    @pytest.mark.parametrize(
        ("accept", "status"),
        [
            ("application/xml", 406),
            ("application/json;q=0, */*", 406),
            ("text/*", 406),
            ("application/xml, application/json;q=0.1", 200),
            ("application/*", 200),
            ("*/*", 200),
            ("", 200),
            ("nonsense;q=x", 406),
        ],
    )
    def test_that_leaves_json_out_is_a_406(self, shop: httpx.Client, accept: str, status: int) -> None:
        """By weights, and by the range that fits best."""
        answer = shop.get("/v1/jobs", headers={"Accept": accept})
        assert answer.status_code == status
        if status == 406:
            assert "application/json" in problem_of(answer, 406)["detail"]

    def test_is_asked_before_anything_is_done(self, shop: httpx.Client) -> None:
        """A job that nobody wants to be told of is not enqueued."""
        problem_of(shop.post("/v1/jobs", json={"source_url": SOURCE}, headers={"Accept": "text/csv"}), 406)
        assert shop.get("/v1/jobs").json()["data"] == []

    @pytest.mark.parametrize(
        ("accept", "query", "kind"),
        [
            ("*/*", "", "text/csv"),
            ("application/x-ndjson", "", "application/x-ndjson"),
            ("text/csv;q=0.1, application/x-ndjson", "", "application/x-ndjson"),
            ("application/x-ndjson", "?format=csv", "text/csv"),
        ],
    )
    def test_chooses_the_form_of_results(
        self, shop: httpx.Client, engine: Engine, accept: str, query: str, kind: str
    ) -> None:
        """Unless the query says it."""
        batch = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        answer = shop.get(f"/v1/batches/{batch}/results{query}", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(kind)
        assert "Accept" in answer.headers["vary"]

    def test_that_no_form_of_results_has_is_a_406(self, shop: httpx.Client, engine: Engine) -> None:
        """Excel's own format is none of them."""
        batch = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        answer = shop.get(f"/v1/batches/{batch}/results", headers={"Accept": "application/vnd.ms-excel"})
        problem_of(answer, 406)


class TestCompression:
    def test_is_for_those_who_take_it(self, shop: httpx.Client, engine: Engine) -> None:
        """JSON, problems, the document and results of more than 1 KB; and the same once unpacked."""
        batch = make_batch(engine, {f"SKU-{n}": DONE for n in range(30)}, producer_id=producer_of(engine))
        for path in ("/v1/jobs", "/openapi.json", f"/v1/batches/{batch}/results?format=ndjson", "/docs"):
            packed = shop.get(path, headers={"Accept-Encoding": "gzip"})
            plain = shop.get(path, headers={"Accept-Encoding": "identity"})
            refused = shop.get(path, headers={"Accept-Encoding": "gzip;q=0, *"})
            assert packed.headers["content-encoding"] == "gzip", path
            if path != "/v1/jobs":
                # What is left of a second changes between two looks at jobs.
                assert packed.text == plain.text == refused.text
            assert len(packed.text) == len(plain.text)
            assert "content-encoding" not in {**plain.headers, **refused.headers}, path
            for answer in (packed, plain, refused):
                assert "Accept-Encoding" in answer.headers["vary"], path

    def test_is_not_of_small_answers(self, shop: httpx.Client) -> None:
        """They fit into a packet."""
        answer = shop.get("/healthz", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers

    def test_is_never_of_event_streams(self, shop: httpx.Client, engine: Engine) -> None:
        """Events would wait for more to be packed with them."""
        batch = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        path = f"/v1/batches/{batch}/events"
        with shop.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            assert "content-encoding" not in answer.headers
            assert next(answer.iter_lines()).startswith("event: ")

    def test_is_done_one_large_answer_of_a_producer_at_a_time(
        self, shop: httpx.Client, app: FastAPI, services_of: Services, engine: Engine
    ) -> None:
        """Another one meanwhile is sent as it is, and other producers' are compressed."""
        make_batch(engine, {f"SKU-{n}": DONE for n in range(200)}, producer_id=producer_of(engine))
        headers_of_other = key_for(engine, "other") | {"Accept-Encoding": "gzip"}
        of_other = producer_of(engine, "other")
        make_batch(engine, {f"SKU-{n}": DONE for n in range(200)}, producer_id=of_other)
        path, headers = "/v1/jobs?limit=200", {"Accept-Encoding": "gzip"}
        hangs, free = threading.Event(), threading.Event()

        def hang() -> None:
            hangs.set()
            free.wait(scaled(20))

        loop = app.state.readiness._loop
        work = services_of.compressions.finish(producer_of(engine), hang)
        asked = asyncio.run_coroutine_threadsafe(work, loop)
        assert hangs.wait(scaled(5))
        plain, packed = shop.get(path, headers=headers), shop.get(path, headers=headers_of_other)
        free.set()
        asked.result(scaled(5))
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert len(plain.content) > INLINE_BYTES
        assert len(plain.json()["data"]) == len(packed.json()["data"]) == 200
        assert shop.get(path, headers=headers).headers["content-encoding"] == "gzip"
        assert {plain.headers["vary"], packed.headers["vary"]} == {"Accept-Encoding"}

    def test_leaves_a_304_without_a_body(self, shop: httpx.Client) -> None:
        """Its tag is of the plain answer and the packed one alike."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path, headers={"Accept-Encoding": "gzip"}).headers["etag"]
        headers = {"If-None-Match": tag, "Accept-Encoding": "identity"}
        answer = shop.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["vary"] == "Accept-Encoding"


class TestRateLimitHeaders:
    def test_are_on_every_answer_to_a_key(self, shop: httpx.Client) -> None:
        """Good ones and problems; the rest falls by one with each."""
        answers = [shop.get("/v1/jobs"), shop.get(f"/v1/jobs/{ID}"), shop.post("/v1/jobs", content=b"{")]
        left = []
        for answer in answers:
            assert answer.headers["ratelimit-policy"] == '"key";q=100000;w=10'
            name, rest, reset = answer.headers["ratelimit"].split(";")
            assert (name, reset) == ('"key"', "t=1")
            left.append(int(rest.removeprefix("r=")))
        assert all(99_990 < rest < 100_000 for rest in left)

    def test_are_on_no_answer_to_a_stranger(self, client: httpx.Client) -> None:
        """An unknown key has no rate."""
        for headers in ({}, {"Authorization": f"Bearer cutout_{'x' * 43}"}):
            answer = client.get("/v1/jobs", headers=headers)
            assert answer.status_code == 401
            assert "ratelimit" not in answer.headers
