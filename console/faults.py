"""Errors that end a request with a page which says what is wrong and what to do."""

from http import HTTPStatus


class PageError(Exception):
    """A request's end: status, what is wrong, and what to do about it."""

    def __init__(self, status: HTTPStatus, text: str, remedy: str = "", *, wait_s: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.remedy, self.wait_s = status, text, remedy, wait_s


class SignedOutError(Exception):
    """The request has no valid session."""


def not_found(what: str) -> PageError:
    """There is no such thing, or it is another producer's: both look the same."""
    return PageError(
        HTTPStatus.NOT_FOUND, f"There is no {what}.", "It may have been deleted; look in the list."
    )


def forbidden(right: str) -> PageError:
    """The key of the session lacks the right."""
    return PageError(
        HTTPStatus.FORBIDDEN,
        f"This needs the right “{right}”, which your key does not have.",
        "Sign in with another key, or ask whoever runs this installation for one.",
    )
