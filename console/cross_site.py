"""Requests that change something come from the console's own pages alone."""

from http import HTTPStatus

from fastapi import Request

from console.faults import PageError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def require_same_origin(request: Request) -> None:
    """Raise PageError, 403, for an unsafe request of another site, or of a client that does not say."""
    if request.method in SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        is_ours = request.headers.get("origin") == f"{request.url.scheme}://{request.url.netloc}"
    if not is_ours:
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "This request did not come from a page of this console, and was not carried out.",
            "Open the console and do it there.",
        )
