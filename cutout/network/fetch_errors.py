"""Errors of a download.

FetchError
  x UrlRefused          not requested at all: repeating is useless
    - AddressRefused    the host leads to an address that is not public
    - RedirectRefused   too many redirects, or one to a refused URL
  x BadStatus           an answer other than 200
  x NotModified         unchanged since the download whose validators were sent
  x TooLarge            more bytes than allowed
  x Unfinished          may succeed next time
    - Unreachable       no connection, or broken before the answer began
    - DeadlinePassed
    - Truncated         broken off inside the body

No message contains a URL, because a URL may be enough to get the picture.
"""
# ruff: noqa: N818 - the names tell what happened; `Error` would add nothing


class FetchError(Exception):
    pass


class UrlRefused(FetchError):
    pass


class AddressRefused(UrlRefused):
    pass


class RedirectRefused(UrlRefused):
    pass


class NotModified(FetchError):
    pass


class BadStatus(FetchError):
    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status} instead of 200")
        self.status = status


class TooLarge(FetchError):
    pass


class Unfinished(FetchError):
    pass


class Unreachable(Unfinished):
    pass


class DeadlinePassed(Unfinished):
    pass


class Truncated(Unfinished):
    pass
