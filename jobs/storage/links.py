"""Signed links to objects, by botocore's own signer without the rest of boto3: a third of its time."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from jobs.storage.many_links import ManyLinks

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A link, and the headers that must go with it."""

    url: str
    headers: dict[str, str]


class Links:
    """Links into one bucket, as a client would reach and sign it."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @cached_property
    def _base(self) -> str:
        # boto3 knows how a server's addresses are made; with the key cut off, one serves for all.
        probe = self._client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": "x"})
        return probe.partition("?")[0].removesuffix("x")

    def sign(self, method: str, key: str, headers: dict[str, str], seconds: int) -> str:
        """A link, good for `seconds`, for one method, key and headers; BotoCoreError without credentials."""
        request = AWSRequest(method, self._base + quote(key, safe="/~"), headers=headers)
        region = self._client.meta.region_name
        S3SigV4QueryAuth(self._credentials(), "s3", region, expires=seconds).add_auth(request)
        return str(request.url)

    def many(self, seconds: int) -> ManyLinks:
        """Makes links that read, at 1/10 of the time for each; BotoCoreError without credentials."""
        return ManyLinks(self._base, self._credentials(), self._client.meta.region_name, seconds)

    def _credentials(self) -> ReadOnlyCredentials:
        # There is no public way to a client's credentials, and those of a machine's role change by the hour.
        found: Credentials | None = self._client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()
