"""Downloads of results."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cutout.endpoint.answer import Accepted
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.endpoint_errors import ResultError, ResultGone, ResultUnavailable, ResultUrlRefused
from cutout.endpoint.result import ResultDownloader
from cutout.endpoint.result_check import check_result
from cutout.images.image import PreparedImage
from cutout.network import HostList
from tests.cutout.endpoint.conftest import Sandbox
from tests.cutout.images.pictures import encoded
from tests.worker.wire import answering, closing_after, response, serving

PICTURE = encoded("PNG", "RGBA")


@pytest.fixture
def local() -> Iterator[ResultDownloader]:
    with ResultDownloader(HostList.parse(["127.0.0.1", "*.ailabtools.com"]), deadline_s=5) as downloader:
        yield downloader


def paid(client: EndpointClient, picture: PreparedImage, return_form: str | None = None) -> str:
    answer = client.cut_out(picture, return_form)
    assert isinstance(answer, Accepted)
    return answer.result_url


class TestFromTheSandbox:
    @pytest.mark.parametrize(
        ("return_form", "media_type"),
        [(None, "image/png"), ("mask", "image/png"), ("whiteBK", "image/jpeg"), ("crop", "image/png")],
    )
    def test_every_form_arrives_and_is_what_was_ordered(
        self,
        return_form: str | None,
        media_type: str,
        client: EndpointClient,
        picture: PreparedImage,
        local: ResultDownloader,
    ) -> None:
        """A paid result is downloaded and passes the check of its form."""
        data = local.download(paid(client, picture, return_form))
        cutout = check_result(data, return_form, picture.width, picture.height)
        assert cutout.media_type == media_type
        assert cutout.data is data

    def test_a_deleted_one_is_gone(
        self, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage, local: ResultDownloader
    ) -> None:
        """A dead URL has its own error: repeating the download is useless."""
        sandbox.order("result_gone")
        with pytest.raises(ResultGone, match="24 hours"):
            local.download(paid(client, picture))

    def test_one_during_an_outage_comes_later(
        self, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage, local: ResultDownloader
    ) -> None:
        """A 503 is temporary: the URL gives the picture later."""
        sandbox.order("result_unavailable")
        url = paid(client, picture)
        for _ in range(2):
            with pytest.raises(ResultUnavailable, match="503"):
                local.download(url)
        assert local.download(url)

    def test_half_of_one_is_detected(
        self, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage, local: ResultDownloader
    ) -> None:
        """Half of a picture under a matching Content-Length is damaged."""
        sandbox.order("truncated_image")
        data = local.download(paid(client, picture))
        with pytest.raises(ResultUnavailable, match="incomplete"):
            check_result(data, None, picture.width, picture.height)


class TestFailures:
    @pytest.mark.parametrize(
        ("served", "error"),
        [
            (response(b"", status="410 Gone"), ResultGone),
            (response(b"", status="403 Forbidden"), ResultUnavailable),
            (response(b"", status="500 Oops"), ResultUnavailable),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", ResultUnavailable),
            (b"", ResultUnavailable),
            (response(b"?", headers="Content-Encoding: br\r\n"), ResultUnavailable),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", ResultUnavailable),
        ],
        ids=["410", "403", "500", "cut off", "closed", "packed", "1 GB"],
    )
    def test_are_told_apart(self, served: bytes, error: type[ResultError], local: ResultDownloader) -> None:
        """A deleted result has its own error; temporary failures are retried until it expires."""
        with serving(closing_after(served)) as url, pytest.raises(error):
            local.download(url)


class TestAllowedHosts:
    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example/s3cret.png",
            "https://ailabtools.com/s3cret.png",
            "https://x.ailabtools.com.evil.example/s3cret.png",
            "https://x.ailabtools.com@evil.example/s3cret.png",
            "https://evil.example#x.ailabtools.com/s3cret.png",
            "http://x.ailabtools.com/s3cret.png",
            "https://user:s3cret@x.ailabtools.com/",
            "https://127.1/s3cret.png",
            "ftp://x.ailabtools.com/s3cret.png",
            "https://x.ailabtools.com:bad/s3cret",
        ],
    )
    def test_are_the_only_ones_requested(self, url: str, local: ResultDownloader) -> None:
        """Look-alikes, user names and plain http to other machines are refused, without showing the URL."""
        with pytest.raises(ResultUrlRefused) as refused:
            local.download(url)
        assert "s3cret" not in f"{refused.value}{refused.value.__cause__}"

    def test_are_named_with_their_setting(self, local: ResultDownloader) -> None:
        """The error names the host and the setting to add it to."""
        with pytest.raises(ResultUrlRefused, match=r"results\.example.*CUTOUT_RESULT_HOSTS"):
            local.download("https://results.example/s3cret.png")

    def test_must_be_public(self, local: ResultDownloader, monkeypatch: pytest.MonkeyPatch) -> None:
        """An allowed name that resolves to an internal address is refused."""
        monkeypatch.setattr(socket, "getaddrinfo", _inside)
        with pytest.raises(ResultUrlRefused, match="not public"):
            local.download("https://x.ailabtools.com/s3cret.png")

    def test_hold_for_redirects(self, local: ResultDownloader) -> None:
        """A redirect to another host is refused, one on the same host is followed."""
        away = response(b"", status="302 Found", headers="Location: https://evil.example/s3cret\r\n")
        with serving(answering(away)) as url, pytest.raises(ResultUrlRefused, match=r"evil\.example"):
            local.download(url)
        with serving(answering(response(PICTURE))) as there:
            moved = response(b"", status="302 Found", headers=f"Location: {there}/x\r\n")
            with serving(answering(moved)) as url:
                assert local.download(url) == PICTURE


def _inside(host: str, port: int, *_: object, flags: int = 0, **__: object) -> list[Any]:
    if flags & socket.AI_NUMERICHOST:
        raise socket.gaierror(socket.EAI_NONAME, host)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]
