"""Client of the endpoint. It never repeats a call: a repetition costs money and is decided elsewhere."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol, Self

import httpx

from cutout.endpoint.answer import Accepted, Refused, parse, read_answer, refusal, succeeded
from cutout.endpoint.credits import CreditPool, credit_pools
from cutout.endpoint.endpoint_errors import NoAnswer, NotSent
from cutout.images.image import PreparedImage
from cutout.network import (
    EgressUnavailable,
    FetchError,
    GuardedTransport,
    NotReached,
    Timeouts,
    egress_proxy,
    read_bounded,
)

CUT_OUT_PATH = "/api/cutout/general/commodity-background-removal"
CREDITS_PATH = "/api/common/query-credits"

# Gateways time out after about 60 s; the endpoint's own answer is worth more waiting, because without it a
# charge stays unknown. `read` limits the wait for the first byte.
CALL_TIMEOUTS = Timeouts(connect=5, write=30, read=90, total=120)
CREDITS_DEADLINE_S = 15.0

# Less than the 5 s after which common servers close an idle connection: a call sent while the server closes
# gets no answer, which leaves a charge unknown.
KEEPALIVE_EXPIRY_S = 3.0

MAX_ANSWER_BYTES = 1_000_000

DEFAULT_PORTS = {"http": 80, "https": 443}


class Departure(Protocol):
    """Permission for a call to go out, waited for with an open connection."""

    def await_permission(self) -> None:
        """Wait until the first byte may be sent. An exception is passed on, and nothing was sent."""

    def sent(self) -> None:
        """Record that the first byte was sent."""


class EndpointClient:
    """Client for one account at the endpoint. One per thread."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeouts: Timeouts = CALL_TIMEOUTS,
        *,
        path: str = CUT_OUT_PATH,
        proxy: str | None = None,
    ) -> None:
        """Check and store the base URL, such as `https://www.ailabapi.com`. Raises ValueError if it is
        invalid. `proxy` is that of all calls; without it they go directly.
        """
        if not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError(
                "the API key is empty or contains spaces or characters outside ASCII; copy it again"
            )
        self._call_url = _url(base_url, path)
        self._credits_url = _url(base_url, CREDITS_PATH)
        self._headers = httpx.Headers(
            {
                "ailabapi-api-key": api_key,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "cutout",
            }
        )
        self._transport = GuardedTransport(
            timeouts, proxy=egress_proxy(proxy), keepalive_expiry_s=KEEPALIVE_EXPIRY_S
        )

    def cut_out(
        self, image: PreparedImage, return_form: str | None = None, *, departure: Departure | None = None
    ) -> Accepted | Refused:
        """Make one paid call, for None or "rgba" (the endpoint's default), "mask", "whiteBK" or "crop".

        Raises NotSent if the request was not sent completely, NoAnswer if it was and no answer came.
        """
        plain = return_form in (None, "rgba")  # the default is requested by omitting the field
        request = httpx.Request(
            "POST",
            self._call_url,
            headers=self._headers,
            data=None if plain else {"return_form": return_form},
            files={"image": (image.file_name, image.data, image.media_type)},
        )
        if departure is not None:
            request.extensions["before_first_byte"] = departure.await_permission
        note_sent = departure.sent if departure is not None else None
        status, headers, body, went_out = self._exchange(request, note_sent)
        return read_answer(status, headers, body, went_out=went_out)

    def credits(self) -> list[CreditPool] | Refused:
        """Query the account's credits, which is free. Raises NotSent or NoAnswer."""
        request = httpx.Request(
            "GET", self._credits_url, headers=self._headers, extensions={"deadline_s": CREDITS_DEADLINE_S}
        )
        status, headers, body, _ = self._exchange(request)
        envelope = parse(body)
        return credit_pools(envelope) if succeeded(status, envelope) else refusal(status, headers, envelope)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(
        self, request: httpx.Request, note_sent: Callable[[], None] | None = None
    ) -> tuple[int, httpx.Headers, bytes, bool]:
        """Return the answer's status, headers and body, and whether the whole request was sent before it
        came.
        """
        if not isinstance(request.stream, httpx.SyncByteStream):
            raise TypeError("the body of the request is asynchronous")
        body = request.stream = _CountedBody(request.stream, note_sent)
        try:
            response = self._transport.handle_request(request)
        except (EgressUnavailable, NotReached) as error:
            raise NotSent(f"the request was not sent: {error}; see CUTOUT_ENDPOINT_PROXY") from error
        except httpx.TransportError as error:
            reason = f"{type(error).__name__}: {error}"
            if body.went_out:
                raise NoAnswer(f"the request was sent and no answer came ({reason})") from error
            raise NotSent(f"the request was not sent completely ({reason})") from error
        went_out = body.went_out
        with closing(response):
            return response.status_code, response.headers, _read(response), went_out


def call_url(base_url: str) -> str:
    """Return the URL of paid calls: scheme, host, port unless it is the scheme's default, and path.

    Raises ValueError for an invalid base URL.
    """
    url = _url(base_url, CUT_OUT_PATH)
    return str(url.copy_with(port=None) if url.port == DEFAULT_PORTS.get(url.scheme) else url)


def _url(base_url: str, path: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.rstrip("/") + path)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or not url.path.endswith(path):
        raise ValueError("the endpoint's base URL must be http(s)://host, such as https://www.ailabapi.com")
    return url


class _CountedBody(httpx.SyncByteStream):
    """Body of a request that records whether it was sent: a part is requested once the last one is written.

    The first part is requested once the head of the request is written, which calls `note_sent`.
    """

    went_out = False

    def __init__(self, parts: httpx.SyncByteStream, note_sent: Callable[[], None] | None) -> None:
        self._parts = parts
        self._note_sent = note_sent

    def __iter__(self) -> Iterator[bytes]:
        if self._note_sent is not None:
            self._note_sent()
        yield from _joined(self._parts)
        self.went_out = True


def _joined(parts: httpx.SyncByteStream, enough: int = 4096) -> Iterator[bytes]:
    """Join the many small parts of a form, each of which would be a packet; pass the image on unchanged."""
    small: list[bytes] = []
    for part in parts:
        if len(part) < enough:
            small.append(part)
        else:
            yield b"".join(small)
            yield part
            small.clear()
    yield b"".join(small)


def _read(response: httpx.Response) -> bytes:
    """Read the answer's body. A failure needs none; a success with an incomplete body leaves the charge
    unknown.
    """
    try:
        return read_bounded(response, MAX_ANSWER_BYTES)
    except FetchError as error:
        if response.is_success:
            raise NoAnswer(
                f"HTTP status {response.status_code}, and then its body failed: {error}"
            ) from error
        return b""
