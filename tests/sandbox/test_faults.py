"""Every fault, as a client sees it."""

import time

import httpx
import pytest

from tests.sandbox.client import Client, error_code
from tests.sandbox.pictures import decoded
from tests.support.machine import scaled


class TestDropBefore:
    def test_sends_not_one_byte_and_charges_nothing(self, client: Client, picture: bytes) -> None:
        """The connection closes without a status line, before the charge."""
        client.fault("drop_before")
        assert client.raw_answer(picture) == b""
        assert client.charges() == 0

    def test_is_a_protocol_error_to_httpx(self, client: Client, picture: bytes) -> None:
        """Httpx reports a server that went away, and the next call works."""
        client.fault("drop_before")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.call(picture)
        assert client.call(picture).status_code == 200


class TestDropAfter:
    def test_sends_not_one_byte_and_charges(self, client: Client, picture: bytes) -> None:
        """The connection closes without a status line, after the charge."""
        client.fault("drop_after")
        assert client.raw_answer(picture) == b""
        assert client.charges() == 1


class TestDropMidway:
    def test_breaks_off_inside_the_body(self, client: Client, picture: bytes) -> None:
        """The status line says 200, half of the announced body follows, and the call is charged."""
        client.fault("drop_midway")
        head, _, body = client.raw_answer(picture).partition(b"\r\n\r\n")
        announced = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert head.startswith(b"HTTP/1.1 200")
        assert len(body) == announced // 2
        assert client.charges() == 1


class TestHang:
    @pytest.mark.parametrize(("kind", "charges"), [("hang", 0), ("hang_after", 1)])
    def test_answers_nothing_for_its_seconds(
        self, client: Client, picture: bytes, kind: str, charges: int
    ) -> None:
        """The connection stays silent for its time, then closes without a byte."""
        client.fault(kind, seconds=0.4)
        began = time.monotonic()
        assert client.raw_answer(picture) == b""
        assert 0.4 <= time.monotonic() - began < scaled(3)
        assert client.charges() == charges

    def test_ends_when_the_client_goes_away(self, client: Client, picture: bytes) -> None:
        """A client that gives up frees its place in flight."""
        client.fault("hang", seconds=60)
        with pytest.raises(TimeoutError):
            client.raw_answer(picture, timeout=0.3)
        deadline = time.monotonic() + scaled(5)
        while client.read("stats")["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.read("stats")["in_flight"] == 0


class TestNotJson:
    def test_is_a_gateway_speaking_plain_text(self, client: Client, picture: bytes) -> None:
        """502 with the text `bad gateway`, not charged."""
        client.fault("not_json")
        answer = client.call(picture)
        assert (answer.status_code, answer.text) == (502, "bad gateway")
        assert client.charges() == 0

    def test_html_comes_with_200(self, client: Client, picture: bytes) -> None:
        """200 with an HTML page, not charged."""
        client.fault("html")
        answer = client.call(picture)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert client.charges() == 0


class TestSpoiledData:
    def test_null_instead_of_data(self, client: Client, picture: bytes) -> None:
        """200 with `data: null`, charged."""
        client.fault("data_null")
        assert client.call(picture).json()["data"] is None
        assert client.charges() == 1

    def test_no_url(self, client: Client, picture: bytes) -> None:
        """200 with an empty URL, charged."""
        client.fault("no_url")
        assert client.call(picture).json()["data"] == {"image_url": ""}
        assert client.charges() == 1

    def test_ftp_url(self, client: Client, picture: bytes) -> None:
        """200 with a URL that is not http, charged."""
        client.fault("ftp_url")
        assert client.call(picture).json()["data"]["image_url"].startswith("ftp://")
        assert client.charges() == 1


class TestSpoiledResult:
    def test_truncated_image_has_a_consistent_length(self, client: Client, picture: bytes) -> None:
        """The download is complete by HTTP, and half a picture."""
        whole = client.cut_out(picture).content
        client.fault("truncated_image")
        half = client.cut_out(picture)
        assert half.status_code == 200
        assert int(half.headers["content-length"]) == len(half.content) == len(whole) // 2
        with pytest.raises(OSError, match="truncated"):
            decoded(half.content)

    def test_gone_is_dead_at_once(self, client: Client, picture: bytes) -> None:
        """The URL of a charged call answers 404."""
        client.fault("result_gone")
        assert client.cut_out(picture).status_code == 404
        assert client.charges() == 1

    def test_unavailable_twice_then_there(self, client: Client, picture: bytes) -> None:
        """The URL answers 503 to two downloads and the picture to the third."""
        client.fault("result_unavailable")
        url = client.call(picture).json()["data"]["image_url"]
        assert [client.http.get(url).status_code for _ in range(3)] == [503, 503, 200]

    def test_unsteady_is_unavailable_then_gone_then_there(self, client: Client, picture: bytes) -> None:
        """503, 503 and 404 come before the picture."""
        client.fault("result_unsteady")
        url = client.call(picture).json()["data"]["image_url"]
        assert [client.http.get(url).status_code for _ in range(4)] == [503, 503, 404, 200]

    @pytest.mark.parametrize(
        ("kind", "media_type", "mode"),
        [
            ("palette_image", "image/png", "P"),
            ("grey_alpha_image", "image/png", "LA"),
            ("webp_image", "image/webp", "RGBA"),
            ("opaque_image", "image/png", "RGB"),
        ],
    )
    def test_another_encoding_is_whole(
        self, client: Client, picture: bytes, kind: str, media_type: str, mode: str
    ) -> None:
        """The picture as a CDN might serve it, under the type that it has then; and charged."""
        client.fault(kind)
        result = client.cut_out(picture)
        assert (result.headers["content-type"], decoded(result.content).mode) == (media_type, mode)
        assert client.charges() == 1

    def test_small_image_is_half_as_large(self, client: Client, picture: bytes) -> None:
        """Half as wide and half as high, rounded up."""
        width, height = decoded(client.cut_out(picture).content).size
        client.fault("small_image")
        assert decoded(client.cut_out(picture).content).size == ((width + 1) // 2, (height + 1) // 2)

    def test_large_image_is_the_same_picture(self, client: Client, picture: bytes) -> None:
        """70 MB that decode to what it is otherwise."""
        client.fault("large_image")
        large = client.cut_out(picture).content
        assert len(large) > 70_000_000
        assert decoded(large).size == decoded(client.cut_out(picture).content).size

    def test_html_result_is_a_page(self, client: Client, picture: bytes) -> None:
        """200, text/html, as an outage behind a CDN."""
        client.fault("html_result")
        result = client.cut_out(picture)
        assert (result.status_code, result.text[:9]) == (200, "<!doctype")


class TestSpoiledAnswer:
    def test_url_elsewhere(self, client: Client, picture: bytes) -> None:
        """200 with the URL in another field, where it works."""
        client.fault("url_elsewhere")
        (url,) = client.call(picture).json()["data"]["elements"]
        assert (client.http.get(url).status_code, client.charges()) == (200, 1)

    def test_long_url(self, client: Client, picture: bytes) -> None:
        """The URL is longer than most fields, and works."""
        client.fault("long_url")
        url = client.call(picture).json()["data"]["image_url"]
        assert (len(url) > 5000, client.http.get(url).status_code) == (True, 200)


class TestCode:
    def test_carries_retry_after_if_ordered(self, client: Client, picture: bytes) -> None:
        """The header has the ordered seconds; without an order there is none."""
        client.fault("code", code="EXCEEDING_LIMITS", retry_after=7)
        assert client.call(picture).headers["retry-after"] == "7"
        client.fault("code", code="EXCEEDING_LIMITS")
        assert "retry-after" not in client.call(picture).headers


class TestPlan:
    def test_next_strikes_that_many_calls(self, client: Client, picture: bytes) -> None:
        """A fault for the next two calls spares the third."""
        client.fault("code", code="AI_SERVICE_TIMEOUT", next=2)
        assert [client.call(picture).status_code for _ in range(3)] == [504, 504, 200]

    def test_calls_refused_anyway_are_not_counted(self, client: Client, picture: bytes) -> None:
        """A call that would fail by itself does not use the fault up."""
        client.fault("code", code="AI_SERVICE_TIMEOUT")
        assert error_code(client.call(b"no picture")) == "FILE_DECODING_FAILURE"
        assert error_code(client.call(picture)) == "AI_SERVICE_TIMEOUT"

    def test_share_strikes_that_part(self, client: Client, picture: bytes) -> None:
        """A share of 0.5 strikes about half of 60 calls."""
        client.share_fault("not_json", 0.5)
        struck = sum(client.call(picture).status_code == 502 for _ in range(60))
        assert 15 < struck < 45
        assert client.read("faults")[0]["struck"] == struck

    def test_a_gateway_answers_for_a_call_that_was_charged(self, client: Client, picture: bytes) -> None:
        """The page is a proxy's, with its status; the charge behind it stands in the ledger."""
        before = client.read("ledger")["total"]
        client.fault("gateway_after", status=524)
        answer = client.call(picture)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (524, "text/html")
        assert client.read("ledger")["total"] != before

    def test_faults_wait_in_order_until_cleared(self, client: Client, picture: bytes) -> None:
        """The first ordered strikes first; after DELETE none does."""
        client.fault("not_json")
        client.fault("html", next=5)
        assert client.call(picture).status_code == 502
        assert client.call(picture).headers["content-type"].startswith("text/html")
        assert [fault["kind"] for fault in client.read("faults")] == ["html"]
        client.http.delete("/sandbox/faults")
        assert "data" in client.call(picture).json()

    @pytest.mark.parametrize(
        ("order", "reason"),
        [
            ({"kind": "code", "next": 1}, "needs one"),
            ({"kind": "code", "code": "NO_SUCH_CODE", "next": 1}, "NO_SUCH_CODE"),
            ({"kind": "html"}, "either `next`"),
            ({"kind": "html", "next": 1, "share": 0.5}, "either `next`"),
            ({"kind": "explode", "next": 1}, "explode"),
        ],
    )
    def test_an_order_that_means_nothing_is_refused(
        self, client: Client, order: dict[str, object], reason: str
    ) -> None:
        """A wrong order answers 422 and says why."""
        answer = client.http.post("/sandbox/faults", json=order)
        assert answer.status_code == 422
        assert reason in answer.text

    def test_holds_a_hundred_orders(self, client: Client) -> None:
        """The hundred and first is refused, so that memory stays bounded."""
        for _ in range(100):
            client.fault("html")
        answer = client.http.post("/sandbox/faults", json={"kind": "html", "next": 1})
        assert (answer.status_code, len(client.read("faults"))) == (409, 100)
