"""The stylesheet and the module: served under names that change with their content, and kept for ever."""

import gzip
import hashlib
from http import HTTPStatus
from pathlib import Path

from fastapi import Request, Response

from console.faults import PageError

FOLDER = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DIGEST_BYTES = 8
LEVEL = 9


class Asset:
    """A file with its name in pages, plain and by gzip."""

    def __init__(self, path: Path) -> None:
        self.plain = path.read_bytes()
        self.packed = gzip.compress(self.plain, LEVEL, mtime=0)
        digest = hashlib.blake2b(self.plain, digest_size=DIGEST_BYTES).hexdigest()
        self.name = f"{path.stem}.{digest}{path.suffix}"
        self.headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Type": MEDIA_TYPES[path.suffix],
            "Cross-Origin-Resource-Policy": "same-origin",
            "Vary": "Accept-Encoding",
        }


class Assets:
    """All files of `console/static/`, read once."""

    def __init__(self) -> None:
        self.files = [Asset(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES]
        self._by_name = {asset.name: asset for asset in self.files}
        self.names = {asset.name.partition(".")[0]: asset.name for asset in self.files}

    def answer(self, request: Request, name: str) -> Response:
        """The file; PageError, 404, for a name that is not of this version."""
        asset = self._by_name.get(name)
        if asset is None:
            raise PageError(
                HTTPStatus.NOT_FOUND, "There is no such file in this version.", "Load the page again."
            )
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, headers={**asset.headers, "Content-Encoding": "gzip"})
        return Response(asset.plain, headers=asset.headers)
