"""Links by the million, signed by Amazon's Signature Version 4; what they share is computed once."""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

from botocore.credentials import ReadOnlyCredentials

ALGORITHM = "AWS4-HMAC-SHA256"
USUAL_PORTS = {"http": 80, "https": 443}


class ManyLinks:
    """Links that read objects below `base`, all signed at one moment and good for `seconds` from then."""

    def __init__(self, base: str, credentials: ReadOnlyCredentials, region: str, seconds: int) -> None:
        self.signed_at = datetime.now(UTC).replace(microsecond=0)
        at = f"{self.signed_at:%Y%m%dT%H%M%SZ}"
        scope = f"{self.signed_at:%Y%m%d}/{region}/s3/aws4_request"
        query = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(seconds),
            **({"X-Amz-Security-Token": credentials.token} if credentials.token else {}),
            "X-Amz-SignedHeaders": "host",
        }
        self._query = urlencode(query, quote_via=quote, safe="-_.~")
        self._base = base
        self._path = urlsplit(base).path
        self._rest = f"\n{self._query}\nhost:{_host(base)}\n\nhost\nUNSIGNED-PAYLOAD"
        self._to_sign = f"{ALGORITHM}\n{at}\n{scope}\n"
        self._key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            self._key = hmac.digest(self._key, part.encode(), "sha256")

    def to(self, key: str) -> str:
        """The link to one object. Treat it as a secret."""
        name = quote(key, safe="/~")
        request = hashlib.sha256(f"GET\n{self._path}{name}{self._rest}".encode()).hexdigest()
        signature = hmac.digest(self._key, f"{self._to_sign}{request}".encode(), "sha256").hex()
        return f"{self._base}{name}?{self._query}&X-Amz-Signature={signature}"


def _host(base: str) -> str:
    parts = urlsplit(base)
    if parts.port == USUAL_PORTS.get(parts.scheme):
        return parts.netloc.removesuffix(f":{parts.port}")
    return parts.netloc
