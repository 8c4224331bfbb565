"""ETags: answers that a client need not be sent twice, and changes that it makes to what it has seen."""

import hashlib
import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.media_types import JSON
from api.openapi_headers import answer_headers
from api.problems import ProblemError

TAG_BYTES = 12
MOST_TAGS = 50
# Ours have at most 50 characters.
LONGEST_TAGS = 3000
REVISED = re.compile(r'"(?P<revision>[0-9]{1,20})\.[^"]*"')
LONGEST_WAIT_S = 60
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    200: answer_headers("ETag"),
    304: {"description": "What you have by `If-None-Match` is what there is", **answer_headers("ETag")},
}

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to wait for a change",
        examples=[30],
    ),
]


def etag_of(text: str) -> str:
    """The ETag of an answer; weak, since it leaves out fields that change with time alone."""
    return f'W/"{hashlib.blake2b(text.encode(), digest_size=TAG_BYTES).hexdigest()}"'


def has_it(request: Request, etag: str) -> bool:
    """Whether the client says that it has this already (RFC 9110, weak comparison)."""
    tags = _tags(request, "if-none-match")
    return tags is not None and ("*" in tags or etag.removeprefix("W/") in tags)


def revised_etag(revision: int, text: str) -> str:
    """The ETag of a resource with a revision, which `require_match` compares, and a text."""
    return etag_of(text).replace('"', f'"{revision}.', 1)


def require_match(request: Request, *, revision: int | None = None, etag: str | None = None) -> None:
    """Raise a problem 412 if the request has an `If-Match`, and it names neither `*` nor what there is now.

    Of an ETag with a revision the revision alone counts; `etag` is compared as a whole. Call it in the
    transaction of the change, once the row is locked, and after the Idempotency-Key was looked up: a request
    sent again has made its own tag stale.
    """
    tags = _tags(request, "if-match")
    if tags is None or "*" in tags:
        return
    if etag is not None and etag.removeprefix("W/") in tags:
        return
    if revision is not None and str(revision) in {_revision(tag) for tag in tags}:
        return
    raise ProblemError(
        HTTPStatus.PRECONDITION_FAILED,
        "changed-meanwhile",
        "it is not as your If-Match has it any more; look at it again, and send the change with its new ETag",
        field="If-Match",
    )


def _tags(request: Request, name: str) -> set[str] | None:
    """The tags in all lines of a header, without `W/`, at most MOST_TAGS; None without the header.

    A header of more than LONGEST_TAGS characters has none: it matches nothing, and nothing is
    changed by it.
    """
    lines = request.headers.getlist(name)
    if not lines:
        return None
    given = ",".join(lines)
    if len(given) > LONGEST_TAGS:
        return set()
    tags = given.split(",", MOST_TAGS)[:MOST_TAGS]
    return {tag.strip().removeprefix("W/") for tag in tags}


def _revision(tag: str) -> str | None:
    found = REVISED.fullmatch(tag)
    return found["revision"] if found else None


def is_news_awaited(request: Request, etag: str) -> bool:
    """Whether a client that waits has seen what there is now; one that says nothing of it has."""
    return "if-none-match" not in request.headers or has_it(request, etag)


def answer(request: Request, body: str, etag: str) -> Response:
    """The body, or 304 if the client has it."""
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if has_it(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)
