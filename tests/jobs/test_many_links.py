from datetime import UTC, datetime
from unittest.mock import patch

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from jobs.storage import Bucket
from jobs.storage.many_links import ManyLinks

KEYS = ["a.png", "cutouts/ü 1/SKU+4471=é~.png", "a?b#c%20&d'e", "x" * 300]
BASES = [
    "https://cutouts.s3.eu-west-3.amazonaws.com/",
    "http://127.0.0.1:8333/cutouts/",
    "https://s3.example:443/cutouts/",
]


class TestALink:
    @pytest.mark.parametrize("base", BASES)
    @pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEA//+=="])
    def test_is_what_botocore_signs(self, base: str, token: str | None) -> None:
        """For any key, address and kind of credentials, to the letter."""
        credentials = Credentials("AKIA+/=", "secret/+=", token).get_frozen_credentials()
        links = ManyLinks(base, credentials, "eu-west-3", 3600)
        for key in KEYS:
            ours = links.to(key)
            request = AWSRequest("GET", ours.partition("?")[0])
            with patch("botocore.auth.get_current_datetime", lambda **_: links.signed_at):
                S3SigV4QueryAuth(credentials, "s3", "eu-west-3", expires=3600).add_auth(request)
            assert sorted(ours.partition("?")[2].split("&")) == sorted(
                str(request.url).partition("?")[2].split("&")
            )

    def test_reads_its_object(self, bucket: Bucket) -> None:
        """The server takes it for a key of letters that must be quoted, and for no other key."""
        for key in KEYS[:2]:
            bucket.put_cutout(key.encode(), key=key, media_type="image/png", metadata={})
        links = bucket.many_links(seconds=60)
        for key in KEYS[:2]:
            assert httpx.get(links.to(key)).content == key.encode()
        assert httpx.get(links.to("a.png").replace("a.png", "b.png")).status_code == 403
        assert abs((links.signed_at - datetime.now(UTC)).total_seconds()) < 10
