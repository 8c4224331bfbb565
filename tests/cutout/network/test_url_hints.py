"""Hints for texts that are nearly URLs, at every entry point."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cutout.network.url_hints import not_an_address
from cutout.queue.enqueue import InvalidJobError, NewJob
from cutout.schedules.definition import require_source
from cutout.schedules.schedule_errors import InvalidScheduleError
from tests.support.machine import scaled

NEARLY = {
    "//cdn.shop.example/a.jpg": "is an address without its scheme; write https://cdn.shop.example/a.jpg",
    "//127.0.0.1:18099/a.jpg": "write https://127.0.0.1:18099/a.jpg",
    "www.example.com/a.jpg": "write https://www.example.com/a.jpg",
    "\u200bhttps://x.example/a.jpg": "begins with the invisible character U\\+200B \\(zero width space\\)",
    "https://x.example/a.jpg\ufeff": "ends with the invisible character U\\+FEFF",
    "https://x.example/a.jpg\u2060": "ends with the invisible character U\\+2060",
    "\u202ahttps://x.example/a.jpg": "begins with the invisible character U\\+202A",
    "https:/x.example/a.jpg": "is nearly an address; write https://x.example/a.jpg",
    "https//x.example/a.jpg": "is nearly an address; write https://x.example/a.jpg",
    "https:x.example/a.jpg": "is nearly an address",
    "https:\\\\x.example\\a.jpg": "is nearly an address; write https://x.example/a.jpg",
    "htps://x.example/a.jpg": "is nearly an address; write https://x.example/a.jpg",
    "https://https://x.example/a.jpg": "has two schemes; write https://x.example/a.jpg",
    '"https://x.example/a.jpg"': "inside quotes",
    '<img alt="x" src="https://x.example/a.jpg">': "inside quotes, brackets or a formula",
    "[[https://x.example/a.jpg]]": "inside quotes, brackets or a formula",
    '=HYPERLINK("https://x.example/a.jpg")': "inside quotes, brackets or a formula",
    "data:image/png;base64,AAAA": "holds the picture itself",
}
FINE = [
    "https://x.example/a.jpg",
    "HTTP://x.example/a b",
    "s3://bucket/\u200bkey",
    "images/bag.jpg",
    "images.2024/bag.jpg",
    "//server/share",
    "https-photos/a.jpg",
    "www",
    "https://x.example/f/https://y.example/a.jpg",
    "\u200b",
]


class TestATextThatIsNearlyAnAddress:
    @pytest.mark.parametrize("text", list(NEARLY))
    def test_gets_a_hint(self, text: str) -> None:
        """The hint has the text to write."""
        assert pytest.raises(ValueError, match=NEARLY[text]).matches(ValueError(not_an_address(text)))

    @pytest.mark.parametrize("text", FINE)
    def test_is_no_name_and_no_address(self, text: str) -> None:
        """A valid URL and a text that is no URL at all get no hint."""
        assert not_an_address(text) is None

    @pytest.mark.parametrize("text", list(NEARLY))
    def test_is_no_job_and_no_schedule(self, text: str) -> None:
        """Over HTTP it is not stored as a URL to be requested later, either."""
        with pytest.raises(InvalidJobError, match=NEARLY[text]):
            NewJob(text.replace(" ", ""))
        if text[:4] not in {"http", "HTTP"}:
            with pytest.raises(InvalidScheduleError, match=NEARLY[text]):
                require_source(text)


class TestARow:
    @pytest.mark.parametrize("beside", [True, False], ids=["with files", "over HTTP"])
    @pytest.mark.parametrize("text", [*NEARLY, "127.0.0.1:18099/img/a.jpg", "shop.example/a.jpg"])
    def test_is_rejected_with_the_hint(self, place: Callable[..., str], text: str, *, beside: bool) -> None:
        """The reject does not ask for a file in a folder."""
        said = NEARLY.get(text, f"write https://{text}")
        assert pytest.raises(ValueError, match=said).matches(ValueError(place(text, beside=beside)))

    @pytest.fixture
    def place(self, tmp_path: Path) -> Callable[..., str]:
        from cutout.ingest.ingest_errors import UnusableError  # noqa: PLC0415
        from cutout.ingest.sources.manifest import PictureLocator  # noqa: PLC0415
        from cutout.ingest.sources.source_urls import Addresses  # noqa: PLC0415

        def locate(text: str, *, beside: bool) -> str:
            places = PictureLocator(
                Addresses("bucket", web_only=not beside), 100, tmp_path if beside else None
            )
            with pytest.raises(UnusableError) as refused:
                places.locate(text)
            return str(refused.value)

        return locate


def test_a_text_of_thousands_of_dots_is_checked_at_once() -> None:
    """It is checked on an event loop, where some milliseconds would delay all requests."""
    began_at = time.thread_time()
    not_an_address(f"https:{'.' * 40_000} ")
    assert time.thread_time() - began_at < scaled(0.1)
