"""Answers that are none of the API, or not whole: each ends in an error of the client, soon."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cutout_client
from cutout_client import Client, Retries
from cutout_client.sse import MOST_BYTES, EventParser
from cutout_client.transport import MOST_ANSWER_BYTES
from tests.cutout_client.conftest import MakeClient
from tests.support.machine import scaled

JOB_ID = "01a20519-4707-757a-9c1e-0f6f3a4c2b11"
JOB: dict[str, Any] = {
    "id": JOB_ID,
    "state": "queued",
    "external_id": None,
    "batch_id": None,
    "return_form": "rgba",
    "step": "call",
    "tries": 0,
    "credits": 0,
    "scheduled_at": "2026-11-22T09:14:03Z",
    "created_at": "2026-11-22T09:14:03Z",
    "finished_at": None,
    "cancelled_at": None,
    "error": None,
    "result": None,
    "bought": None,
    "outputs": [],
    "score": None,
    "unexpected": None,
}
TWO = Retries(tries=2, first_wait_s=0.01, longest_wait_s=0.02)


class Liar:
    """A server that reads a request's head and answers these bytes; `requests` are the heads."""

    def __init__(self, answer: bytes | Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lie, args=(client,), daemon=True).start()

    def _lie(self, client: socket.socket) -> None:
        with client:
            try:
                self.requests.append(client.recv(65_536))
                if callable(self._answer):
                    self._answer(client)
                else:
                    client.sendall(self._answer)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()


@contextmanager
def lying(answer: bytes | Callable[[socket.socket], None]) -> Iterator[Liar]:
    """A server that lies, while it is needed."""
    liar = Liar(answer)
    try:
        yield liar
    finally:
        liar.close()


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer with its length, or a wrong one."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", *headers, "", ""]).encode() + body


def job(**changes: Any) -> bytes:
    """The view of a job, changed."""
    return http(json.dumps(JOB | changes).encode())


def without(name: str) -> bytes:
    """The view of a job that has a member less."""
    return http(json.dumps({key: value for key, value in JOB.items() if key != name}).encode())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(b""), "0 bytes is no JSON"),
        (http(b"<html>welcome</html>"), "is no JSON"),
        (http(b"[" * 100_000), "is no JSON"),
        (http(b"\xff\xfe{"), "is no JSON"),
        (http(b"[]"), r"Job in the answer is \[\] and not a dict"),
        (http(b"null"), "Job in the answer is None"),
        (without("state"), "has no Job.state"),
        (job(state=7), "Job.state in the answer is 7 and not a str"),
        (job(tries=True), "Job.tries in the answer is True and not a int"),
        (job(created_at="yesterday"), "Job.created_at in the answer is 'yesterday' and not a time"),
        (job(outputs={}), "Job.outputs in the answer is {}"),
        (job(outputs=[{"name": "a"}]), r"has no Job.outputs\[0\]\."),
        (job(metadata={"a": 1}), "Job.metadata.a in the answer is 1"),
        (http(b"{}", "Content-Encoding: gzip"), "cannot be read: DecodingError"),
        (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), "was answered 302"),
        (http(b"", status="304 Not Modified"), "was answered 304"),
    ],
)
def test_an_answer_that_is_no_job_is_named(client_for: MakeClient, answer: bytes, said: str) -> None:
    """With the member at fault; it is not asked for again."""
    with lying(answer) as liar:
        client = client_for(liar.url, "key", TWO)
        with pytest.raises(cutout_client.BrokenAnswerError, match=said):
            client.jobs.get(JOB_ID)
        assert len(liar.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        http(json.dumps(JOB).encode(), length=10_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["closed", "no-http", "cut-off", "cut-off-chunk", "endless-head"],
)
def test_an_answer_that_breaks_off_is_asked_for_again(client_for: MakeClient, answer: bytes) -> None:
    """As often as `Retries` says; a POST under the same key each time."""
    with lying(answer) as liar:
        client = client_for(liar.url, "key", TWO)
        with pytest.raises(cutout_client.NoAnswerError, match="after 2 tries"):
            client.jobs.enqueue(source_url="https://shop.example/a.jpg")
        keys = {
            line for head in liar.requests for line in head.splitlines() if line.lower().startswith(b"idem")
        }
        assert (len(liar.requests), len(keys)) == (2, 1)


@pytest.mark.parametrize(("status", "tries"), [(500, 2), (429, 2), (503, 2), (408, 2), (501, 1), (418, 1)])
def test_a_page_of_a_proxy_is_an_error_without_a_type(
    client_for: MakeClient, status: int, tries: int
) -> None:
    """Tried again where that may help; its number and its request id are there."""
    body = http(b"<html>", "X-Request-ID: r-7", status=f"{status} Odd")
    with lying(body) as liar:
        with pytest.raises(cutout_client.ApiError) as raised:
            client_for(liar.url, "key", TWO).jobs.get(JOB_ID)
        error = raised.value
        assert (error.status, error.kind, error.title, error.request_id) == (status, "", "Odd", "r-7")
        assert len(liar.requests) == tries


def test_members_of_a_problem_that_are_no_text_are_left_out(client_for: MakeClient) -> None:
    """So that an error is an error whatever it holds."""
    problem: dict[str, Any] = {
        "type": 7,
        "title": None,
        "detail": ["x"],
        "field": {},
        "instance": 3,
        "job_id": 1,
    }
    with lying(http(json.dumps(problem).encode(), status="409 Conflict")) as liar:
        with pytest.raises(cutout_client.ConflictError) as raised:
            client_for(liar.url, "key", TWO).jobs.get(JOB_ID)
        assert (raised.value.type, raised.value.field, raised.value.request_id) == ("", None, None)


def test_a_change_that_is_not_safe_to_repeat_is_sent_once(client_for: MakeClient) -> None:
    """With If-Match its first try may have made the tag stale: whether it was done is not known."""
    with lying(b"") as liar:
        client = client_for(liar.url, "key", TWO)
        with pytest.raises(cutout_client.NoAnswerError, match="not known whether it was done"):
            client.batches.patch(JOB_ID, if_match='W/"1.a"', name="new")
        assert len(liar.requests) == 1
        with pytest.raises(cutout_client.NoAnswerError, match="after 2 tries"):
            client.batches.patch(JOB_ID, name="new")
        assert len(liar.requests) == 3
    with lying(http(b"", "Retry-After: 0", status="429 Too Many")) as liar:
        with pytest.raises(cutout_client.TooMuchError):
            client_for(liar.url, "key", TWO).batches.patch(JOB_ID, if_match='W/"1.a"', name="new")
        assert len(liar.requests) == 2


def test_an_answer_without_an_end_is_given_up(client_for: MakeClient) -> None:
    """In bytes, and in time if it drips."""

    def endless(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
        client.sendall(gzip.compress(b" " * (MOST_ANSWER_BYTES + 1)))

    def dripping(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(200):
            client.sendall(b" ")
            time.sleep(0.05)

    with lying(endless) as liar, pytest.raises(cutout_client.BrokenAnswerError, match="more than"):
        client_for(liar.url, "key", TWO).jobs.get(JOB_ID)
    began = time.monotonic()
    with lying(dripping) as liar, pytest.raises(cutout_client.NoAnswerError, match="too slowly"):
        client_for(liar.url, "key", Retries(tries=1), 0.5).jobs.get(JOB_ID)
    assert time.monotonic() - began < scaled(4)


@pytest.mark.parametrize(
    "link", ["/v1/jobs", "//other.example/a.png", "ftp://other.example/a", "javascript:x", ""]
)
def test_a_redirect_to_no_address_of_the_web_is_not_followed(
    client_for: MakeClient, tmp_path: Path, link: str
) -> None:
    """The key goes nowhere, and no file is left."""
    with lying(http(b"", f"Location: {link}", status="307 Temporary Redirect")) as liar:
        client = client_for(liar.url, "key", TWO)
        with pytest.raises(cutout_client.BrokenAnswerError, match=r"no address of the web|InvalidURL"):
            client.batches.download_rejects(JOB_ID, tmp_path / "rejects.csv")
        assert (len(liar.requests), list(tmp_path.iterdir())) == (1, [])


def test_a_link_gets_no_key(client_for: MakeClient, tmp_path: Path) -> None:
    """The bucket is somebody else's server."""
    with lying(http(b"rows")) as bucket:
        redirect = http(b"", f"Location: {bucket.url}/r.csv", status="307 Temporary Redirect")
        with lying(redirect) as liar:
            path = client_for(liar.url, "key-7", TWO).batches.download_rejects(JOB_ID, tmp_path / "r.csv")
        assert path.read_bytes() == b"rows"
        assert b"key-7" in liar.requests[0]
        assert b"key-7" not in bucket.requests[0]


def test_a_file_that_breaks_off_is_not_there(client_for: MakeClient, tmp_path: Path) -> None:
    """Neither under its name nor under another."""
    with lying(http(b"half", length=100)) as liar:
        client = client_for(liar.url, "key", TWO)
        with pytest.raises(cutout_client.BrokenDownloadError, match="broke off"):
            client.batches.download_results(JOB_ID, tmp_path / "results.csv")
        with pytest.raises(cutout_client.BrokenDownloadError, match="broke off"):
            list(client.batches.results(JOB_ID))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("row", [b"[]", b"{", b"7"])
def test_a_result_that_is_no_object_is_an_error(client_for: MakeClient, row: bytes) -> None:
    """The rows before it have been given."""
    with lying(http(b'{"a": 1}\n' + row + b"\n")) as liar:
        rows = client_for(liar.url, "key", TWO).batches.results(JOB_ID)
        assert next(rows) == {"a": 1}
        with pytest.raises(cutout_client.BrokenAnswerError, match="no JSON object"):
            next(rows)


def test_a_list_whose_next_page_is_the_same_ends(client_for: MakeClient) -> None:
    """With an error, and not never."""
    page = http(json.dumps({"data": [JOB], "next_cursor": "c"}).encode())
    with lying(page) as liar:
        jobs = client_for(liar.url, "key", TWO).jobs.list()
        with pytest.raises(cutout_client.BrokenAnswerError, match="next page"):
            list(jobs)
        assert len(liar.requests) == 2


def test_events_that_never_come_end_in_an_error(client_for: MakeClient) -> None:
    """A stream that ends again and again without an event, and one whose event is no JSON."""
    with lying(http(b": ping\n\n")) as liar, pytest.raises(cutout_client.NoAnswerError, match="2 times"):
        list(client_for(liar.url, "key", TWO).batches.events(JOB_ID, retries=TWO))
    with (
        lying(http(b"event: job\ndata: {\n\n")) as liar,
        pytest.raises(cutout_client.BrokenAnswerError, match="no JSON object"),
    ):
        list(client_for(liar.url, "key", TWO).batches.events(JOB_ID))


class TestTheParserOfEvents:
    """As the HTML standard has it."""

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_takes_events_in_pieces_of_any_size(self, size: int, end: bytes) -> None:
        """Comments and unknown fields are left out, lines of data joined, an id stays until another comes."""
        lines = [
            b": hi",
            b"event: job",
            b"id: 7",
            b"data: {",
            b"data:}",
            b"",
            b"data: x",
            b"retry: 5",
            b"",
            b"id: 8",
            b"",
        ]
        stream = end.join([*lines, b"data: never ended"])
        parser = EventParser()
        pieces = [stream[n : n + size] for n in range(0, len(stream), size)]
        events = [(each.name, each.data, each.id) for piece in pieces for each in parser.feed(piece)]
        assert events == [("job", "{\n}", "7"), ("message", "x", "7")]

    @pytest.mark.parametrize("line", [b"x", b"data:\n"])
    def test_refuses_an_event_without_an_end(self, line: bytes) -> None:
        """Its memory is bounded."""
        parser = EventParser()
        stream = line * (MOST_BYTES // len(line) + 1)
        pieces = [stream[n : n + 1_000_000] for n in range(0, len(stream), 1_000_000)]
        with pytest.raises(cutout_client.BrokenAnswerError, match="an event has more than"):
            [list(parser.feed(piece)) for piece in pieces]


@pytest.mark.parametrize("url", ["cutout.example", "ftp://cutout.example", ""])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="does not begin with https://"):
        Client(url, "key")
