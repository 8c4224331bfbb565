"""Signed links into one bucket, made without the rest of boto3."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from jobs.storage.signer import NONE, Signer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Links that are wanted within so many seconds are signed at one moment, and are good for so much longer.
ONE_MOMENT_S = 5


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A link, and the headers that must go with it."""

    url: str
    headers: dict[str, str]


class Links:
    """Links into one bucket, as a client would reach and sign it. Safe to share between threads."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._signers: dict[int, tuple[float, Signer]] = {}

    @cached_property
    def _base(self) -> str:
        # boto3 knows how a server's addresses are made; with the key cut off, one serves for all.
        probe = self._client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": "x"})
        return probe.partition("?")[0].removesuffix("x")

    def sign(
        self,
        method: str,
        key: str,
        headers: dict[str, str],
        seconds: int,
        parameters: Mapping[str, str] = NONE,
    ) -> str:
        """A link, good for `seconds`, for one method, key and headers; BotoCoreError without credentials."""
        return self._signer_of_late(seconds).link(key, method, headers, parameters)

    def signer(self, seconds: int) -> Signer:
        """Signs links from now on, good for `seconds`; BotoCoreError without credentials."""
        return Signer(self._base, self._credentials(), self._client.meta.region_name, seconds)

    def _signer_of_late(self, seconds: int) -> Signer:
        now = time.monotonic()
        made_at, signer = self._signers.get(seconds, (0.0, None))
        if signer is None or now - made_at > ONE_MOMENT_S:
            signer = self.signer(seconds + ONE_MOMENT_S)
            self._signers[seconds] = (now, signer)
        return signer

    def _credentials(self) -> ReadOnlyCredentials:
        # There is no public way to a client's credentials, and those of a machine's role change by the hour.
        found: Credentials | None = self._client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()
