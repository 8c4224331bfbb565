from datetime import UTC, datetime
from unittest.mock import patch

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from jobs.storage import Bucket
from jobs.storage.signer import Signer

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
        """For any key, address, request and kind of credentials, to the letter."""
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
        """As Amazon has it: one that is to be good for longer would be good for nothing."""
        credentials = Credentials("key", "secret").get_frozen_credentials()
        assert "X-Amz-Expires=604800&" in Signer(BASES[0], credentials, "eu-west-3", 604_805).link("a.png")

    def test_reads_its_object(self, bucket: Bucket) -> None:
        """The server takes it for a key of letters that must be quoted, and for no other key."""
        for key in KEYS[:2]:
            bucket.put_cutout(key.encode(), key=key, media_type="image/png", metadata={})
        links = bucket.signer(seconds=60)
        for key in KEYS[:2]:
            assert httpx.get(links.link(key)).content == key.encode()
        assert httpx.get(links.link("a.png").replace("a.png", "b.png")).status_code == 403
        assert abs((links.signed_at - datetime.now(UTC)).total_seconds()) < 10
