"""Media types and codings that a request names: what it sends, and what it would accept."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers

from api.problems import ProblemError

MOST_RANGES = 50
# A browser's Accept has some 150 characters; reading ranges costs far more than their bytes.
LONGEST_RANGES = 1000
LONGEST_KIND = 300
JSON = "application/json"
UTF8 = frozenset({"", "utf-8", "utf8"})


@dataclass(frozen=True, slots=True)
class _Range:
    """A range of an `Accept` header, such as text/*, and its weight."""

    kind: str
    weight: float

    def fits(self, media_type: str) -> int:
        """Exactness of the fit: 3 the type itself, 2 its main type, 1 any type; 0 if it does not fit."""
        if self.kind == media_type:
            return 3
        if self.kind == f"{media_type.partition('/')[0]}/*":
            return 2
        return int(self.kind in ("*/*", "*"))


def accepted(request: Request, media_types: Sequence[str]) -> str | None:
    """The type that the request would rather have, the first of equals; None if it takes none."""
    ranges = _ranges(request.headers, "accept")
    if not ranges:
        return media_types[0]
    weights = {kind: _weight(ranges, kind) for kind in media_types}
    best = max(media_types, key=lambda kind: weights[kind])
    return best if weights[best] > 0 else None


def require_accepted(request: Request, media_types: Sequence[str]) -> str:
    """As `accepted`; raises a problem 406 if the request takes none of the types."""
    kind = accepted(request, media_types)
    if kind is None:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            "not-acceptable",
            f"this answers with {' or '.join(media_types)}, which your Accept does not take; leave it out",
            field="Accept",
        )
    return kind


def takes_gzip(headers: Headers) -> bool:
    """Whether the client takes an answer compressed by gzip."""
    ranges = _ranges(headers, "accept-encoding")
    return max((r.weight for r in ranges if r.kind == "gzip"), default=_of_any(ranges)) > 0


def require_plain(request: Request) -> None:
    """Raise a problem 415 for a body with a `Content-Encoding`: none is undone here."""
    codings = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if codings not in ("", "identity"):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"the Content-Encoding is {codings[:100]!r}; send the body as it is, and a gzip file that is a"
            " manifest as application/gzip",
            field="Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


def require_kind(request: Request, *taken: str) -> str:
    """The media type of the body, which must be one of these; a problem 415 if it is not, or JSON not UTF-8.

    A request without a body has the first.
    """
    headers = request.headers
    given = headers.get("content-type", "")
    # Taking its parameters apart costs far more than their bytes; a boundary has 70 characters at most.
    if len(given) > LONGEST_KIND:
        raise _unsupported(f"the Content-Type has more than {LONGEST_KIND} characters", taken)
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    if not kind and headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return taken[0]
    if kind not in taken:
        raise _unsupported(f"the Content-Type is {kind[:100]!r}", taken)
    if kind == JSON and (charset := _charset(parameters)) not in UTF8:
        raise _unsupported(f"the charset is {charset[:100]!r}, and JSON is UTF-8", taken)
    return kind


def _unsupported(fault: str, taken: Sequence[str]) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        f"{fault}; send {' or '.join(taken)}",
        field="Content-Type",
    )


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def _ranges(headers: Headers, name: str) -> list[_Range]:
    """The ranges in all lines of a header, at most MOST_RANGES; none if it has more than LONGEST_RANGES
    characters.
    """
    given = ",".join(headers.getlist(name))
    if len(given) > LONGEST_RANGES:
        return []
    return [_range(part) for part in given.split(",", MOST_RANGES)[:MOST_RANGES] if part.strip()]


def _range(part: str) -> _Range:
    kind, *parameters = part.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            return _Range(kind.strip().lower(), _number(value.strip()))
    return _Range(kind.strip().lower(), 1.0)


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0


def _weight(ranges: Sequence[_Range], media_type: str) -> float:
    """The weight of the range that fits best; 0 without one."""
    fitting = [(each.fits(media_type), each.weight) for each in ranges]
    best = max(fit for fit, _ in fitting)
    return max(weight for fit, weight in fitting if fit == best) if best else 0.0


def _of_any(ranges: Sequence[_Range]) -> float:
    return max((each.weight for each in ranges if each.kind == "*"), default=0.0)
