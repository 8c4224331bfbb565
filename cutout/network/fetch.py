"""Downloads limited in bytes, time and redirects."""

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
    """A downloaded body, and headers of its server: claims, not facts. `media_type` is "" if not given.

    `redirected_to` is the path of the final URL, "" if there was no redirect.
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

    With `etag` or `last_modified` of an earlier download, raises NotModified unless the content has changed.
    `check_url` is called with the URL of every hop before the request, and raises UrlRefused. Raises
    FetchError.
    """
    validators = {"If-None-Match": etag, "If-Modified-Since": None if etag else last_modified}
    conditions = {name: value for name, value in validators.items() if value}
    bounds = _Bounds(deadline_s, max_redirects, check_url)
    requested = _parsed(url)
    with _last_hop(transport, requested, bounds, conditions) as (response, _):
        if response.status_code == httpx.codes.NOT_MODIFIED and conditions:
            raise NotModified("not modified")
        fetched = _downloaded(response, max_bytes)
        came_from = response.request.url
        return fetched if came_from == requested else replace(fetched, redirected_to=came_from.path)


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
    """Download piece by piece, for bodies too large for memory. Raises FetchError, also after some pieces.

    With `patience` it raises DeadlinePassed also for a slow body, and once it is stopped.
    """
    bounds = _Bounds(deadline_s, max_redirects, check_url, patience)
    with _last_hop(transport, _parsed(url), bounds, {}) as (response, wait):
        if response.status_code != httpx.codes.OK:
            raise BadStatus(response.status_code)
        yield from _bounded(response, max_bytes, wait)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Limits on the time, the redirects and the URLs of a download."""

    deadline_s: float
    max_redirects: int
    check_url: Callable[[httpx.URL], None]
    patience: Patience | None = None


@contextmanager
def _last_hop(
    transport: httpx.BaseTransport, hop: httpx.URL, bounds: _Bounds, conditions: Mapping[str, str]
) -> Iterator[tuple[httpx.Response, Wait | None]]:
    """Yield the first answer that is no redirect."""
    ends_at = time.monotonic() + bounds.deadline_s
    bounds.check_url(hop)
    for _ in range(bounds.max_redirects + 1):
        left = ends_at - time.monotonic()
        headers = httpx.Headers({**_HEADERS, **conditions}) if conditions else _HEADERS
        wait = Wait(bounds.patience) if bounds.patience else None
        extensions = {"deadline_s": left, "interrupted": wait}
        request = httpx.Request("GET", hop, headers=headers, extensions=extensions)
        with closing(_answer(transport, request)) as response:
            if wait:
                wait.head_received()
            if not response.has_redirect_location:
                yield response, wait
                return
            hop = _next_hop(hop, response.headers["location"], bounds.check_url)
    raise RedirectRefused(f"more than {bounds.max_redirects} redirects; give the address they lead to")


def read_bounded(response: httpx.Response, max_bytes: int) -> bytes:
    """Read a body of at most `max_bytes` bytes, decompressed if needed.

    Raises TooLarge, Truncated, DeadlinePassed. The caller closes the response.
    """
    parts = _bounded(response, max_bytes)
    first, second = next(parts, b""), next(parts, None)
    if second is None:
        # Most bodies come in one part, which need not be copied.
        return first
    # Not a list of parts: a server may send single bytes.
    held = bytearray(first)
    held += second
    for part in parts:
        held += part
    return bytes(held)


def _bounded(response: httpx.Response, max_bytes: int, wait: Wait | None = None) -> Iterator[bytes]:
    declared = response.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > max_bytes:
        raise TooLarge(f"{declared[:18]} bytes, more than the {max_bytes} allowed")
    left = max_bytes
    for part in _content(response, max_bytes, wait):
        left -= len(part)
        if left < 0:
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
    """Return a validator header if it is safe to send back: bounded, printable ASCII."""
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
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return parts
    return unpacked(parts, encoding, max_bytes=max_bytes)


def _received(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except httpx.TimeoutException as error:
        raise DeadlinePassed(f"the body was not complete in time: {error}") from error
    except httpx.TransportError as error:
        raise Truncated(f"the body broke off: {error}") from error
