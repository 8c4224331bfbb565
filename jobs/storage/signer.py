"""Links to objects, signed by Amazon's Signature Version 4: at 1/20 of what botocore takes for each."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import quote, urlencode, urlsplit

from botocore.credentials import ReadOnlyCredentials

ALGORITHM = "AWS4-HMAC-SHA256"
USUAL_PORTS = {"http": 80, "https": 443}
NONE: Mapping[str, str] = MappingProxyType({})
# Amazon takes no link that is good for longer than a week.
LONGEST_S = 604_800


class Signer:
    """Signs links to objects below `base`, all at one moment and good for `seconds` from then.

    What they share is computed once.
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
        """The link for one method and object, to be asked with just these headers. Treat it as a secret.

        `parameters` go into its query; they are of small letters, which sort behind what is there.
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
