from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qs, quote, urlencode

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cutout.storage import Bucket, shown_as
from cutout.storage.disposition import ANY_TYPE
from cutout.storage.presign import Signer

KEYS = ["a.png", "cutouts/ü 1/SKU+4471=é~.png", "a?b#c%20&d'e", "x" * 300]
BASES = [
    "https://cutouts.s3.eu-west-3.amazonaws.com/",
    "http://127.0.0.1:8333/cutouts/",
    "https://s3.example:443/cutouts/",
]


REQUESTS: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {"x-amz-checksum-mode": "ENABLED"}),
    (
        "PUT",
        {"Content-Type": "image/png", "x-amz-checksum-sha256": "a+/=", "x-amz-meta-b": " 1  2 ", "Zeta": "z"},
    ),
]


class TestALink:
    @pytest.mark.parametrize("base", BASES)
    @pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEA//+=="])
    @pytest.mark.parametrize(("method", "headers"), REQUESTS, ids=[method for method, _ in REQUESTS])
    def test_is_what_botocore_signs(
        self, base: str, token: str | None, method: str, headers: dict[str, str]
    ) -> None:
        """Any key, address, request and kind of credentials gives the same link, to the letter."""
        credentials = Credentials("AKIA+/=", "secret/+=", token).get_frozen_credentials()
        signer = Signer(base, credentials, "eu-west-3", 3600)
        for key in KEYS:
            ours = signer.link(key, method, headers)
            request = AWSRequest(method, ours.partition("?")[0], headers=headers)
            with patch("botocore.auth.get_current_datetime", lambda **_: signer.signed_at):
                S3SigV4QueryAuth(credentials, "s3", "eu-west-3", expires=3600).add_auth(request)
            assert sorted(ours.partition("?")[2].split("&")) == sorted(
                str(request.url).partition("?")[2].split("&")
            )

    def test_is_good_for_a_week_at_most(self) -> None:
        """Amazon accepts no link that is valid for longer."""
        credentials = Credentials("key", "secret").get_frozen_credentials()
        assert "X-Amz-Expires=604800&" in Signer(BASES[0], credentials, "eu-west-3", 604_805).link("a.png")

    def test_reads_its_object(self, bucket: Bucket) -> None:
        """The server accepts it for a key that must be quoted, and for no other key."""
        for key in KEYS[:2]:
            bucket.put_cutout(key.encode(), key=key, media_type="image/png", metadata={})
        links = bucket.signer(seconds=60)
        for key in KEYS[:2]:
            assert httpx.get(links.link(key)).content == key.encode()
        assert httpx.get(links.link("a.png").replace("a.png", "b.png")).status_code == 403
        assert abs((links.signed_at - datetime.now(UTC)).total_seconds()) < 10

    @pytest.mark.parametrize("base", BASES)
    def test_with_a_treatment_is_what_botocore_signs(self, base: str) -> None:
        """The response headers are part of the signature."""
        credentials = Credentials("AKIA+/=", "secret/+=").get_frozen_credentials()
        signer = Signer(base, credentials, "eu-west-3", 3600)
        for key in KEYS:
            ours = signer.link(key, parameters=shown_as(key))
            asked = f"{ours.partition('?')[0]}?{urlencode(shown_as(key), quote_via=quote)}"
            request = AWSRequest("GET", asked)
            with patch("botocore.auth.get_current_datetime", lambda **_: signer.signed_at):
                S3SigV4QueryAuth(credentials, "s3", "eu-west-3", expires=3600).add_auth(request)
            assert parse_qs(ours.partition("?")[2]) == parse_qs(str(request.url).partition("?")[2])

    @pytest.mark.parametrize(
        ("key", "media_type", "way", "told"),
        [
            ("cutouts/b/SKU-1.png", "image/png", 'inline; filename="SKU-1.png"', "image/png"),
            ("cutouts/b/SKU-1.png", None, 'inline; filename="SKU-1.png"', "image/png"),
            ("rejects/b.csv", None, 'attachment; filename="b.csv"', "text/csv; charset=utf-8"),
            ("reports/b/report.html", None, 'attachment; filename="report.html"', "text/html; charset=utf-8"),
            ("unexpected/b/x.html", "text/html", 'attachment; filename="x.html"', ANY_TYPE),
            (
                "unexpected/b/x.png",
                "image/svg+xml",
                'attachment; filename="x.png"',
                "application/octet-stream",
            ),
            ('c/a"\r\nb.png', None, 'inline; filename="a___b.png"', "image/png"),
        ],
    )
    def test_says_how_a_browser_is_to_treat_it(
        self, bucket: Bucket, key: str, media_type: str | None, way: str, told: str
    ) -> None:
        """Pictures are displayed, other objects saved, whatever type the bucket has; nobody can change it."""
        if "\r" in key:
            assert shown_as(key, media_type)["response-content-disposition"] == way
            return
        bucket.put_cutout(b"x", key=key, media_type="text/html", metadata={})
        link = bucket.presign_public(key, seconds=60, media_type=media_type)
        answer = httpx.get(link).raise_for_status()
        assert (answer.headers["content-disposition"], answer.headers["content-type"]) == (way, told)
        attached = "attachment" in link
        other = link.replace("attachment", "inline") if attached else link.replace("png", "svg")
        assert httpx.get(other).status_code == 403
        assert httpx.get(f"{link}&response-content-type=text/html").status_code == 403
