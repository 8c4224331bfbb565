"""Presigned links into one bucket (AWS Signature Version 4), computed without boto3."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


ALGORITHM = "AWS4-HMAC-SHA256"
USUAL_PORTS = {"http": 80, "https": 443}
NONE: Mapping[str, str] = MappingProxyType({})
# Amazon accepts no link that is valid for longer than a week.
LONGEST_S = 604_800


class Signer:
    """Signs links to objects below `base`, all at one moment and valid for `seconds` from then.

    Their common parts are computed once.
    """

    def __init__(self, base: str, credentials: ReadOnlyCredentials, region: str, seconds: int) -> None:
        self.signed_at = datetime.now(UTC).replace(microsecond=0)
        at = f"{self.signed_at:%Y%m%dT%H%M%SZ}"
        scope = f"{self.signed_at:%Y%m%d}/{region}/s3/aws4_request"
        query = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(min(seconds, LONGEST_S)),
            **({"X-Amz-Security-Token": credentials.token} if credentials.token else {}),
        }
        parts = urlsplit(base)
        self._query = urlencode(query, quote_via=quote, safe="-_.~") + "&X-Amz-SignedHeaders="
        self._base = base
        self._path = parts.path
        usual = parts.port == USUAL_PORTS.get(parts.scheme)
        self._host = parts.netloc.removesuffix(f":{parts.port}") if usual else parts.netloc
        self._to_sign = f"{ALGORITHM}\n{at}\n{scope}\n"
        self._key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            self._key = hmac.digest(self._key, part.encode(), "sha256")

    def link(
        self,
        key: str,
        method: str = "GET",
        headers: Mapping[str, str] = NONE,
        parameters: Mapping[str, str] = NONE,
    ) -> str:
        """The link for one method and object, to be requested with exactly these headers. It is a secret.

        `parameters` are added to its query; their names are lower-case, so they sort after the others.
        """
        name = quote(key, safe="/~")
        signed = sorted([("host", self._host), *((each.lower(), value) for each, value in headers.items())])
        query = self._query + "%3B".join(each for each, _ in signed)
        if parameters:
            query += f"&{urlencode(sorted(parameters.items()), quote_via=quote, safe='-_.~')}"
        lines = "\n".join(f"{each}:{' '.join(value.split())}" for each, value in signed)
        names = ";".join(each for each, _ in signed)
        request = f"{method}\n{self._path}{name}\n{query}\n{lines}\n\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(self._key, f"{self._to_sign}{digest}".encode(), "sha256").hex()
        return f"{self._base}{name}?{query}&X-Amz-Signature={signature}"


# Links requested within this time are signed at the same moment, and are valid for that much longer.
ONE_MOMENT_S = 5


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A link, and the headers that must go with it."""

    url: str
    headers: dict[str, str]


class Links:
    """Presigned links of a client into one bucket. Safe to share between threads."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._signers: dict[int, tuple[float, Signer]] = {}

    @cached_property
    def _base(self) -> str:
        # boto3 knows the form of a server's addresses; without the key, one address serves for all.
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
        """A link, valid for `seconds`, for one method, key and headers; BotoCoreError without credentials."""
        return self._recent_signer(seconds).link(key, method, headers, parameters)

    def signer(self, seconds: int) -> Signer:
        """A signer of links valid for `seconds` from now; BotoCoreError without credentials."""
        return Signer(self._base, self._credentials(), self._client.meta.region_name, seconds)

    def _recent_signer(self, seconds: int) -> Signer:
        now = time.monotonic()
        made_at, signer = self._signers.get(seconds, (0.0, None))
        if signer is None or now - made_at > ONE_MOMENT_S:
            signer = self.signer(seconds + ONE_MOMENT_S)
            self._signers[seconds] = (now, signer)
        return signer

    def _credentials(self) -> ReadOnlyCredentials:
        # A client's credentials have no public accessor, and those of a machine's role change hourly.
        found: Credentials | None = self._client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()
