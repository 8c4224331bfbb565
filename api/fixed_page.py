"""A page that is the same for everybody while the process lives: made and compressed once."""

import gzip
import hashlib
from collections.abc import Mapping

from fastapi import Request, Response

from api.etag import has_it
from api.media_types import takes_gzip

TAG_BYTES = 12
LEVEL = 9


class FixedPage:
    """The page's bytes, plain and by gzip, each with a strong ETag of its own."""

    def __init__(self, text: str, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._plain = text.encode()
        self._packed = gzip.compress(self._plain, LEVEL, mtime=0)
        digest = hashlib.blake2b(self._plain, digest_size=TAG_BYTES).hexdigest()
        common = {**(headers or {}), "Cache-Control": "no-cache", "Content-Type": media_type}
        self._of_plain = {**common, "ETag": f'"{digest}"'}
        self._of_packed = {**common, "ETag": f'"{digest}-gzip"', "Vary": "Accept-Encoding"}

    def answer(self, request: Request) -> Response:
        """The page as the client takes it, or 304 if it has it."""
        is_packed = takes_gzip(request.headers)
        headers = self._of_packed if is_packed else self._of_plain
        if has_it(request, headers["ETag"]):
            kept = {name: headers[name] for name in ("ETag", "Cache-Control")}
            return Response(status_code=304, headers=kept)
        if is_packed:
            return Response(self._packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(self._plain, headers=headers)
