"""Answers that a client need not be sent twice: ETag, If-None-Match, and when to look again."""

import hashlib
from typing import Annotated, Any

from fastapi import Query, Request, Response

TAG_BYTES = 12
MOST_TAGS = 50
JSON = "application/json"
LONGEST_WAIT_S = 60
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What you have by `If-None-Match` is what there is"}
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
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",", MOST_TAGS)[:MOST_TAGS]}
    return "*" in tags or etag.removeprefix("W/") in tags


def is_news_awaited(request: Request, etag: str) -> bool:
    """Whether a client that waits has seen what there is now; one that says nothing of it has."""
    return "if-none-match" not in request.headers or has_it(request, etag)


def answer(request: Request, body: str, etag: str, *, look_again_s: int | None) -> Response:
    """The body, or 304 if the client has it; `Retry-After` says when a look is worth while."""
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if look_again_s is not None:
        headers["Retry-After"] = str(look_again_s)
    if has_it(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)
