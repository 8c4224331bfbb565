import pytest

from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.source_urls import COMMON, Addresses
from cutout.queue.enqueue import NewJob

ADDRESSES = Addresses("ours", ("studio",))


class TestAnAddress:
    @pytest.mark.parametrize(
        "source",
        [
            "https://shop.example/a.jpg",
            "https://shop.example:8443/a.jpg?v=1&w=[2]",
            "https://shop.example",
            "HTTPS://Shop.example/a.jpg",
            "https://bücher.example/ä.jpg",
            "s3://ours/a b.jpg",
            "s3://studio/deep/a?b#c.jpg",
        ],
    )
    def test_is_stored_unchanged(self, source: str) -> None:
        """Web URLs and objects of allowed buckets; a key is not URL-encoded."""
        assert ADDRESSES.check(source) == source

    @pytest.mark.parametrize("source", ["a.jpg", "photos/a.jpg", "/etc/hostname", "../a.jpg", "C:\\a.jpg"])
    def test_without_a_scheme_is_a_name(self, source: str) -> None:
        """Whether the file exists is checked elsewhere."""
        assert ADDRESSES.check(source) is None

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("http://shop.example/a.jpg", "not https"),
            ("https://user:pw@shop.example/a", "without a user or password"),
            ("https:///a.jpg", "has no host"),
            ("https://shop.example/a b.jpg", "has a blank at position 23; write %20 for it"),
            (
                "https://shop.example/a.jpg, b.jpg",
                "if several addresses are meant, write each with its https://",
            ),
            (
                "https://shop.example/a.jpg, https://shop.example/b.jpg",
                "holds 2 addresses; give each picture",
            ),
            (
                "https://sh\u00adop.example/a.jpg",
                "invisible character U.00AD .soft hyphen. at position 11; remove",
            ),
            ("https://shop.example/a\u200b.jpg", "invisible character U.200B .* at position 23; remove it"),
            ("https://shop.example/a\tb.jpg", "control character U.0009 at position 23; remove it"),
            ("https://[::1/a.jpg", "is not a web address"),
            ("ftp://shop.example/a.jpg", "begins with ftp://"),
            ("file:///etc/passwd", "begins with file://"),
            ("s3://other/a.jpg", "names the bucket 'other'.*CUTOUT_SOURCE_BUCKETS"),
            ("s3://ours", "does not name an object"),
            ("s3://ours/", "does not name an object"),
            (f"s3://ours/{'x' * 2048}", "2058 characters; use at most 2048"),
            ("s3://ours/a\x85b", "control characters"),
        ],
    )
    def test_that_can_never_work_has_a_reason(self, source: str, said: str) -> None:
        """The reason names the fault and the remedy."""
        with pytest.raises(UnusableError, match=said):
            ADDRESSES.check(source)

    def test_of_plain_http_is_accepted_where_hosts_may_be_private(self) -> None:
        """That host is allowed, and no other."""
        inside = Addresses("ours", private=("10.0.0.1",))
        assert inside.check("http://10.0.0.1/a") == "http://10.0.0.1/a"
        for other in ("http://10.0.0.2/a", "https://10.0.0.2/a"):
            with pytest.raises(UnusableError):
                inside.check(other)

    @pytest.mark.parametrize(
        "source",
        [
            "https://a.b",
            "https://a-b.c:1/x@y",
            "https://a.b/?q#f",
            "https://a.b?q",
            "https://a.b/%20",
            "https://a.b/\\",
            "https://" + "a23456789-123456789-1234567890." * 7 + "b" * 30,
        ],
    )
    def test_that_is_common_passes_the_full_check_too(self, source: str) -> None:
        """The fast pattern accepts nothing that the full check refuses."""
        assert COMMON.fullmatch(source)
        NewJob(source)
