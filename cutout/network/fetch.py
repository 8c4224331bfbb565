"""Download, bounded in bytes, time and redirects."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import httpx

from cutout.network.fetch_errors import (
    BadStatus,
    DeadlinePassed,
    NotModified,
    RedirectRefused,
    TooLarge,
    Truncated,
    Unreachable,
    UrlRefused,
)
from cutout.network.patience import Patience, Wait
from cutout.network.unpacking import unpacked

_HEADERS = httpx.Headers({"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "cutout"})
LONGEST_VALIDATOR = 500


@dataclass(frozen=True)
class Fetched:
    """What was downloaded, and what its server says of it: claims, not facts. No media type is "".

    `redirected_to` is the path of the address that it came from, "" if that is the address asked for.
    """

    data: bytes = field(repr=False)
    media_type: str
    etag: str | None = None
    last_modified: str | None = None
    redirected_to: str = ""


def fetch(
    transport: httpx.BaseTransport,
    url: str,
    *,
    max_bytes: int,
    deadline_s: float,
    max_redirects: int = 0,
    check_url: Callable[[httpx.URL], None] = lambda _: None,
    etag: str | None = None,
    last_modified: str | None = None,
) -> Fetched:
    """Download `url` within `deadline_s` seconds, redirects included, and `max_bytes` bytes.

    With `etag` or `last_modified` of an earlier download, raises NotModified unless it has changed.

    `check_url` sees the URL of every hop before it is asked, and raises UrlRefused. Raises FetchError.
    """
    validators = {"If-None-Match": etag, "If-Modified-Since": None if etag else last_modified}
    conditions = {name: value for name, value in validators.items() if value}
    way = _Way(deadline_s, max_redirects, check_url)
    asked = _parsed(url)
    with _last_hop(transport, asked, way, conditions) as (response, _):
        if response.status_code == httpx.codes.NOT_MODIFIED and conditions:
            raise NotModified("as it was")
        fetched = _downloaded(response, max_bytes)
        came_from = response.request.url
        return fetched if came_from == asked else replace(fetched, redirected_to=came_from.path)


def fetch_pieces(
    transport: httpx.BaseTransport,
    url: str,
    *,
    max_bytes: int,
    deadline_s: float,
    max_redirects: int = 0,
    check_url: Callable[[httpx.URL], None] = lambda _: None,
    patience: Patience | None = None,
) -> Generator[bytes]:
    """The same piece by piece, for what is too large for memory. Raises FetchError, also half way.

    With a `patience` it raises DeadlinePassed for what comes too slowly too, and once it is stopped.
    """
    way = _Way(deadline_s, max_redirects, check_url, patience)
    with _last_hop(transport, _parsed(url), way, {}) as (response, wait):
        if response.status_code != httpx.codes.OK:
            raise BadStatus(response.status_code)
        yield from _bounded(response, max_bytes, wait)


@dataclass(frozen=True, slots=True)
class _Way:
    """How long a download may take, and where it may lead."""

    deadline_s: float
    max_redirects: int
    check_url: Callable[[httpx.URL], None]
    patience: Patience | None = None


@contextmanager
def _last_hop(
    transport: httpx.BaseTransport, hop: httpx.URL, way: _Way, conditions: Mapping[str, str]
) -> Iterator[tuple[httpx.Response, Wait | None]]:
    """The first answer that is no redirect."""
    ends_at = time.monotonic() + way.deadline_s
    way.check_url(hop)
    for _ in range(way.max_redirects + 1):
        left = ends_at - time.monotonic()
        headers = httpx.Headers({**_HEADERS, **conditions}) if conditions else _HEADERS
        wait = Wait(way.patience) if way.patience else None
        extensions = {"deadline_s": left, "interrupted": wait}
        request = httpx.Request("GET", hop, headers=headers, extensions=extensions)
        with closing(_answer(transport, request)) as response:
            if wait:
                wait.head_is_here()
            if not response.has_redirect_location:
                yield response, wait
                return
            hop = _next_hop(hop, response.headers["location"], way.check_url)
    raise RedirectRefused(f"more than {way.max_redirects} redirects; give the address that they lead to")


def read_bounded(response: httpx.Response, max_bytes: int) -> bytes:
    """Read a body of at most `max_bytes` bytes, unpacked if it came packed.

    Raises TooLarge, Truncated, DeadlinePassed. The response is still to be closed.
    """
    # Not a list of parts: a server may send them by the byte.
    held = bytearray()
    for part in _bounded(response, max_bytes):
        held += part
    return bytes(held)


def _bounded(response: httpx.Response, max_bytes: int, wait: Wait | None = None) -> Iterator[bytes]:
    declared = response.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > max_bytes:
        raise TooLarge(f"{declared[:18]} bytes, more than the {max_bytes} allowed")
    room = max_bytes
    for part in _content(response, max_bytes, wait):
        room -= len(part)
        if room < 0:
            raise TooLarge(f"more than the {max_bytes} bytes allowed")
        yield part


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlRefused(f"not a URL: {type(error).__name__}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or b"%" in parsed.raw_host:
        raise UrlRefused("not an http or https URL with a host")
    return parsed


def _answer(transport: httpx.BaseTransport, request: httpx.Request) -> httpx.Response:
    try:
        return transport.handle_request(request)
    except httpx.TimeoutException as error:
        raise DeadlinePassed(f"no answer in time: {error}") from error
    except httpx.TransportError as error:
        raise Unreachable(f"no answer: {error}") from error


def _next_hop(hop: httpx.URL, location: str, check_url: Callable[[httpx.URL], None]) -> httpx.URL:
    try:
        following = _parsed(str(hop.join(location)))
        check_url(following)
    except (UrlRefused, httpx.InvalidURL, ValueError) as error:
        reason = error if isinstance(error, UrlRefused) else "not a URL"
        raise RedirectRefused(f"redirected, but {reason}") from None
    return following


def _downloaded(response: httpx.Response, max_bytes: int) -> Fetched:
    if response.status_code != httpx.codes.OK:
        raise BadStatus(response.status_code)
    data = read_bounded(response, max_bytes)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Fetched(
        data,
        media_type if media_type.isprintable() else "",
        _validator(response, "etag"),
        _validator(response, "last-modified"),
    )


def _validator(response: httpx.Response, name: str) -> str | None:
    """Sent back as it came, so it must be a header's harmless and bounded text."""
    value: str = response.headers.get(name, "")
    return (
        value
        if value and len(value) <= LONGEST_VALIDATOR and value.isascii() and value.isprintable()
        else None
    )


def _content(response: httpx.Response, max_bytes: int, wait: Wait | None) -> Iterator[bytes]:
    parts = _received(response)
    if wait:
        parts = wait.steady(parts)
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in ("", "identity"):
        return parts
    return unpacked(parts, packing, max_bytes=max_bytes)


def _received(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except httpx.TimeoutException as error:
        raise DeadlinePassed(f"the body was not there in time: {error}") from error
    except httpx.TransportError as error:
        raise Truncated(f"the body broke off: {error}") from error
