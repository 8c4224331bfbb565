"""The client on the wire: requests sent and answers classified."""

import socket
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from cutout.endpoint.answer import Accepted, Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.endpoint_errors import NotSent
from cutout.endpoint.verdicts import Verdict
from cutout.images.image import PreparedImage
from tests.cutout.endpoint.conftest import Sandbox
from tests.worker.wire import (
    answering,
    closing_after,
    read_request,
    response,
    serving,
)


def call(base_url: str, image: PreparedImage) -> Accepted | Refused:
    with EndpointClient(base_url, "key") as client:
        return client.cut_out(image)


@pytest.fixture
def recorded() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every call with a success and records the requests."""
    requests: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        while request := read_request(connection):
            requests.append(request)
            connection.sendall(response())

    with serving(behave) as url:
        yield url, requests


def fields(request: bytes) -> dict[str | None, tuple[str | None, str, bytes]]:
    """Return file name, media type and content of each field of a form, parsed by the standard library."""
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
    @pytest.mark.parametrize("size", [1, 100_000])
    def test_is_the_documented_form(self, size: int, recorded: tuple[str, list[bytes]]) -> None:
        """One POST has the key in its header and the image as a named file, byte for byte."""
        url, requests = recorded
        picture = PreparedImage(bytes(n % 251 for n in range(size)), "image/jpeg", "image.jpg", 1, 1)
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
        """The default form has no value of its own at the endpoint."""
        url, requests = recorded
        with EndpointClient(url, "key") as client:
            client.cut_out(picture, return_form)
        assert set(fields(requests[0])) == {"image"}

    @pytest.mark.parametrize("return_form", [None, "mask", "whiteBK", "crop"])
    def test_is_accepted_by_the_sandbox(
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


class TestRefusal:
    def test_of_a_gateway_is_classified_with_an_incomplete_body(self, picture: PreparedImage) -> None:
        """A failure needs no body."""
        head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 99\r\nRetry-After: 7\r\n\r\nbad"
        with serving(closing_after(head)) as url:
            answer = call(url, picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict, answer.retry_after_s) == ("HTTP_502", Verdict.RETRY, 7)

    def test_by_redirect_is_not_followed(self, picture: PreparedImage) -> None:
        """The key and the picture go only to the configured host."""
        away = response(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n")
        with serving(answering(away)) as url:
            answer = call(url, picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict) == ("HTTP_302", Verdict.PAUSE)

    @pytest.mark.parametrize(
        ("kind", "judgement"),
        [
            ("not_json", ("HTTP_502", True)),
            ("gateway_after", ("HTTP_504", True)),
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
        """An unknown key concerns the account, not the job."""
        with EndpointClient(sandbox.base_url, "wrong") as client:
            answer = client.cut_out(picture)
        assert isinstance(answer, Refused)
        assert answer.verdict == Verdict.PAUSE


class TestSecrecy:
    def test_the_key_is_never_shown(self, picture: PreparedImage, caplog: pytest.LogCaptureFixture) -> None:
        """Neither errors nor the client's repr nor debug logs contain the key; no log contains the result
        URL.
        """
        caplog.set_level("DEBUG")
        with serving(answering(response())) as url, EndpointClient(url, "s3cret-key") as client:
            client.cut_out(picture)
            assert "s3cret" not in repr(client)
        with pytest.raises(NotSent) as failed:
            EndpointClient("http://127.0.0.1:1", "s3cret-key").cut_out(picture)
        assert "s3cret" not in str(failed.value) + caplog.text
        assert "secret.png" not in caplog.text
