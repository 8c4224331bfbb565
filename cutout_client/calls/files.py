"""Downloads into files. A link is a secret as long as it works: it is in no error and no log."""

import hashlib
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from cutout_client.decode import nothing
from cutout_client.errors import BrokenAnswerError, BrokenDownloadError
from cutout_client.http_request import PIECE_BYTES, Request
from cutout_client.route import REDIRECT, Route
from cutout_client.steps import Answer, Flow, Read, Send, work


def location_of(answer: Answer) -> str:
    """Decode a redirect: the link."""
    link = answer.headers.get("location", "")
    # Any other would be sent to the API, with the key.
    if not link.startswith(("https://", "http://")):
        raise BrokenAnswerError(f"the answer {answer.status} leads to no address of the web")
    return link


def redirect(path: str) -> Route[str]:
    """Make the route of a file that the API redirects to."""
    return Route("GET", path, location_of, REDIRECT)


def download(route: Route[str], *parts: str, to: str | Path, sha256: str | None = None) -> Flow[Path]:
    """Download the file that the API redirects to, and check its hash (hex) if it is known."""
    link = yield from route.ask(*parts)
    return (yield from save(Request("GET", link), to, sha256=sha256, of="the bucket"))


def save_body(route: Route[None], *parts: str, query: Mapping[str, Any], to: str | Path) -> Flow[Path]:
    """Write an answer's body into a file."""
    return (yield from save(route.request(*parts, query=query), to, route=route))


def save(
    request: Request,
    to: str | Path,
    *,
    sha256: str | None = None,
    route: Route[None] | None = None,
    of: str = "",
) -> Flow[Path]:
    """Write a body into a file that is whole or not there. Raises BrokenDownloadError."""
    target = Path(to)
    answer: Answer = yield Send(request, streamed=True, piece_bytes=PIECE_BYTES)
    if route is not None:
        route.read(answer)
    elif not answer.is_success:
        raise BrokenDownloadError(f"{of} answered {answer.status}; download it again")
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    try:
        file = yield from work(partial(_created, unfinished))
        with file:
            while piece := (yield Read(answer)):
                yield from work(partial(_take, file, digest, piece))
        if sha256 is not None and digest.hexdigest() != sha256:
            raise BrokenDownloadError(f"the file came with the hash {digest.hexdigest()}, not {sha256}")
        unfinished.replace(target)
    except httpx.TransportError as error:
        raise BrokenDownloadError(f"the download broke off: {type(error).__name__}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _created(path: Path) -> BinaryIO:
    return path.open("xb")


def _take(file: BinaryIO, digest: "hashlib._Hash", piece: bytes) -> None:
    digest.update(piece)
    file.write(piece)


def file_route(path: str) -> Route[None]:
    """Make the route of a file that the API itself sends."""
    return Route("GET", path, nothing)
