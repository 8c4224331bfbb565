"""The parts of a transport that do no input or output, for both kinds."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from cutout_client.errors import BrokenAnswerError
from cutout_client.http_request import FileBody, FormBody, JsonBody, Request
from cutout_client.retries import Retries
from cutout_client.version import __version__

TIMEOUT_S = 30.0
# A page of 200 jobs has some hundred kilobytes.
MOST_ANSWER_BYTES = 64 * 1024 * 1024
AGENT = f"cutout-client/{__version__}"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API is, the key, and the limits of time and retries. Raises ValueError for no address."""

    url: str
    key: str = field(repr=False)
    retries: Retries
    timeout_s: float

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ValueError(f"the API's address {self.url!r} does not begin with https:// or http://")

    def headers(self) -> dict[str, str]:
        """The headers of each request to the API; a link gets none."""
        return {"Authorization": f"Bearer {self.key}", "User-Agent": AGENT}

    def timeout(self, request: Request) -> httpx.Timeout:
        """Seconds for each step; the first byte of an answer may take as long as it was asked to wait."""
        return httpx.Timeout(self.timeout_s, read=self.timeout_s + request.wait_s)

    def link(self, request: Request) -> httpx.Request:
        """The request of a link."""
        return httpx.Request(
            request.method, request.target, extensions={"timeout": self.timeout(request).as_dict()}
        )

    def arguments(self, request: Request, opened: ExitStack) -> dict[str, Any]:
        """Arguments of httpx's `build_request` but the content of a FileBody; its file is in `opened`."""
        made: dict[str, Any] = {
            "method": request.method,
            "url": request.target,
            "params": request.query,
            "headers": dict(request.headers),
            "timeout": self.timeout(request),
        }
        match request.body:
            case JsonBody(value):
                made["json"] = value
            case FormBody(fields, name, upload):
                made["data"] = dict(fields)
                made["files"] = {name: (name, opened.enter_context(upload.opened()))}
            case FileBody(upload, media_type):
                # With its length: what is too large is refused before it is sent.
                made["headers"] |= {"Content-Type": media_type, "Content-Length": str(upload.size())}
        return made


def is_link(request: Request) -> bool:
    """Whether it goes to the bucket: without the key, and by no client that logs its address."""
    return not request.target.startswith("/")


@dataclass(slots=True)
class SentFile:
    """Count of what was read of a file that is sent."""

    body: FileBody
    total: int
    sent: int = 0

    def count(self, piece: bytes) -> bytes:
        """Count a piece and tell the caller's function."""
        self.sent += len(piece)
        if piece and self.body.upload.progress is not None:
            self.body.upload.progress(self.sent, self.total)
        return piece


@dataclass(slots=True)
class WholeBody:
    """An answer's body while it is read; bounded in bytes and in time."""

    ends_at: float
    content: bytearray = field(default_factory=bytearray)

    def add(self, piece: bytes) -> None:
        """Add a piece. Raises BrokenAnswerError for too many bytes, httpx.ReadTimeout if it is too slow."""
        self.content += piece
        if len(self.content) > MOST_ANSWER_BYTES:
            raise BrokenAnswerError(f"the answer has more than {MOST_ANSWER_BYTES} bytes")
        if time.monotonic() > self.ends_at:
            raise httpx.ReadTimeout("the answer comes too slowly")


def unreadable(error: Exception) -> BrokenAnswerError:
    """Make the error for an answer that httpx cannot read."""
    return BrokenAnswerError(f"the answer cannot be read: {type(error).__name__}")


# Errors of httpx that are no TransportError, which retries handle.
UNREADABLE = (httpx.DecodingError, httpx.InvalidURL)
