"""The client on the wire: what is sent, and what is made of servers that misbehave."""

import socket
import time
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from tests.worker.endpoint.conftest import Sandbox
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
from worker.endpoint.answer import Accepted, Refused
from worker.endpoint.client import EndpointClient
from worker.endpoint.errors import NoAnswer, NotSent
from worker.endpoint.image import PreparedImage
from worker.endpoint.verdicts import Verdict
from worker.network import Timeouts

IMPATIENT = Timeouts(connect=0.3, write=0.4, read=0.4, pool=0.3, total=0.8)
LARGE = PreparedImage(bytes(20_000_000), "image/jpeg", "image.jpg", 1, 1)


def call(base_url: str, image: PreparedImage, timeouts: Timeouts = IMPATIENT) -> Accepted | Refused:
    with EndpointClient(base_url, "key", timeouts) as client:
        return client.cut_out(image)


@pytest.fixture
def recorded() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every call with a success and keeps the requests."""
    requests: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        while request := read_request(connection):
            requests.append(request)
            connection.sendall(response())

    with serving(behave) as url:
        yield url, requests


def fields(request: bytes) -> dict[str | None, tuple[str | None, str, bytes]]:
    """Give file name, media type and content of each field of a form, read by the standard library."""
    head, _, body = request.partition(b"\r\n\r\n")
    headers = b"\r\n".join(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type"))
    form = BytesParser(policy=HTTP).parsebytes(headers + b"\r\n\r\n" + body)
    return {
        str(part.get_param("name", header="content-disposition")): (
            part.get_filename(),
            part.get_content_type(),
            bytes(part.get_payload(decode=True)),
        )
        for part in form.walk()
        if not part.is_multipart()
    }


class TestRequest:
    def test_is_the_documented_form(self, recorded: tuple[str, list[bytes]], picture: PreparedImage) -> None:
        """One POST with the key in its header and the image as a file with a name, byte for byte."""
        url, requests = recorded
        with EndpointClient(f"{url}/", "the-key") as client:
            assert client.cut_out(picture, "whiteBK") == Accepted(
                "https://results.example/secret.png", "r-1", "l-1"
            )
        assert requests[0].startswith(b"POST /api/cutout/general/commodity-background-removal HTTP/1.1\r\n")
        assert b"\r\nailabapi-api-key: the-key\r\n" in requests[0]
        assert fields(requests[0]) == {
            "image": ("image.jpg", "image/jpeg", picture.data),
            "return_form": (None, "text/plain", b"whiteBK"),
        }

    @pytest.mark.parametrize("return_form", [None, "rgba"])
    def test_leaves_the_field_out_for_the_default(
        self, return_form: str | None, recorded: tuple[str, list[bytes]], picture: PreparedImage
    ) -> None:
        """The default form has no word of its own at the endpoint."""
        url, requests = recorded
        with EndpointClient(url, "key") as client:
            client.cut_out(picture, return_form)
        assert set(fields(requests[0])) == {"image"}

    @pytest.mark.parametrize("return_form", [None, "mask", "whiteBK", "crop"])
    def test_is_taken_by_the_sandbox(
        self, return_form: str | None, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage
    ) -> None:
        """Every form is accepted, for one credit."""
        answer = client.cut_out(picture, return_form)
        assert isinstance(answer, Accepted)
        assert answer.request_id
        assert sandbox.charged() == 1

    @pytest.mark.parametrize("key", ["", " ", "two words", "line\nbreak", "schlüssel"])
    def test_needs_a_key_that_a_header_can_hold(self, key: str) -> None:
        """A key with spaces, line breaks or letters outside ASCII is refused at once, without being shown."""
        with pytest.raises(ValueError, match="API key") as refused:
            EndpointClient("https://www.ailabapi.com", key)
        assert not key.strip() or key not in str(refused.value)

    @pytest.mark.parametrize(
        "base_url",
        [
            "",
            "www.ailabapi.com",
            "ftp://x",
            "https://",
            "http://[::1",
            "https://me@x",
            "https://x?y",
            "https://x#y",
        ],
    )
    def test_needs_a_base_url(self, base_url: str) -> None:
        """A base URL without scheme or host is refused at once."""
        with pytest.raises(ValueError, match="base URL"):
            EndpointClient(base_url, "key")


class TestNotSent:
    """The request did not go out whole: repeating it is safe."""

    def test_when_the_connection_is_refused(self, picture: PreparedImage) -> None:
        """Nobody listens at the port."""
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
        """The connect timeout holds for TLS as well."""
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
    """The request went out whole: a credit may be gone."""

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
        assert 0.7 < time.monotonic() - began < 2

    @pytest.mark.parametrize("body", [b'{"data": ', bytes(2_000_000)], ids=["cut off", "too large"])
    def test_when_a_success_has_no_readable_body(self, body: bytes, picture: PreparedImage) -> None:
        """A 200 whose body breaks off or is beyond all measure leaves the charge unknown."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
        with serving(closing_after(head, body)) as url, pytest.raises(NoAnswer, match="200"):
            call(url, picture)

    @pytest.mark.parametrize(
        ("kind", "credits_spent"), [("drop_before", 0), ("drop_after", 1), ("drop_midway", 1)]
    )
    def test_is_honest_where_only_the_endpoint_knows(
        self, kind: str, credits_spent: int, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage
    ) -> None:
        """A dropped connection looks the same whether or not the call was charged."""
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
        """A second call soon after the first uses the same connection."""
        connections: list[socket.socket] = []

        def behave(connection: socket.socket) -> None:
            connections.append(connection)
            answering(response())(connection)

        with serving(behave) as url, EndpointClient(url, "key") as client:
            client.cut_out(picture)
            client.cut_out(picture)
        assert len(connections) == 1

    def test_a_connection_closed_while_idle_is_replaced(self, picture: PreparedImage) -> None:
        """A connection that the server has closed meanwhile is noticed before anything is sent on it."""
        with serving(closing_after(response())) as url, EndpointClient(url, "key") as client:
            assert isinstance(client.cut_out(picture), Accepted)
            time.sleep(0.05)
            assert isinstance(client.cut_out(picture), Accepted)

    def test_a_connection_closed_under_the_request_is_no_answer(self, picture: PreparedImage) -> None:
        """A reused connection that closes once the request is out leaves the charge unknown."""

        def behave(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(response())
            read_request(connection)

        with serving(behave) as url, EndpointClient(url, "key") as client:
            client.cut_out(picture)
            with pytest.raises(NoAnswer):
                client.cut_out(picture)


class TestRefusal:
    def test_of_a_gateway_is_judged_though_its_body_breaks_off(self, picture: PreparedImage) -> None:
        """A failure needs no body to be one."""
        head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 99\r\nRetry-After: 7\r\n\r\nbad"
        with serving(closing_after(head)) as url:
            answer = call(url, picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict, answer.retry_after_s) == ("HTTP_502", Verdict.RETRY, 7)

    def test_by_redirect_is_not_followed(self, picture: PreparedImage) -> None:
        """The key and the picture go to the configured host and no other."""
        away = response(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n")
        with serving(answering(away)) as url:
            answer = call(url, picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict) == ("HTTP_302", Verdict.PAUSE)

    @pytest.mark.parametrize(
        ("kind", "judgement"),
        [
            ("not_json", ("HTTP_502", False)),
            ("html", ("ANSWER_NOT_UNDERSTOOD", True)),
            ("data_null", ("ANSWER_NOT_UNDERSTOOD", True)),
            ("no_url", ("ANSWER_NOT_UNDERSTOOD", True)),
            ("ftp_url", ("ANSWER_NOT_UNDERSTOOD", True)),
        ],
    )
    def test_of_the_sandboxs_odd_answers(
        self,
        kind: str,
        judgement: tuple[str, bool],
        sandbox: Sandbox,
        client: EndpointClient,
        picture: PreparedImage,
    ) -> None:
        """Gateway texts, HTML pages, and successes without a URL are refused and told apart by their cost."""
        sandbox.order(kind)
        answer = client.cut_out(picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.may_be_charged) == judgement

    def test_of_a_wrong_key_pauses(self, sandbox: Sandbox, picture: PreparedImage) -> None:
        """An unknown key is about the account, not the job."""
        with EndpointClient(sandbox.base_url, "wrong") as client:
            answer = client.cut_out(picture)
        assert isinstance(answer, Refused)
        assert answer.verdict == Verdict.PAUSE


class TestSecrecy:
    def test_the_key_is_never_shown(self, picture: PreparedImage, caplog: pytest.LogCaptureFixture) -> None:
        """Neither errors nor the client's repr nor debug logs hold the key; no log holds the result URL."""
        caplog.set_level("DEBUG")
        with serving(answering(response())) as url, EndpointClient(url, "s3cret-key") as client:
            client.cut_out(picture)
            assert "s3cret" not in repr(client)
        with pytest.raises(NotSent) as failed:
            EndpointClient("http://127.0.0.1:1", "s3cret-key").cut_out(picture)
        assert "s3cret" not in str(failed.value) + caplog.text
        assert "secret.png" not in caplog.text
