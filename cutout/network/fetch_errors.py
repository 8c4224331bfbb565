"""What can go wrong with a fetch.

FetchError
  x UrlRefused          not to be asked at all: repeating is useless
    - AddressRefused    the host leads to an address that is not public
    - RedirectRefused   too many redirects, or one to a refused URL
  x BadStatus           an answer other than 200
  x NotModified         as it was at the download whose validators were sent
  x TooLarge            more bytes than allowed
  x Unfinished          may go better next time
    - Unreachable       no connection, or broken before the answer began
    - DeadlinePassed
    - Truncated         broken off inside the body

No message holds a URL, since a URL may be all that it takes to get the picture.
"""
# ruff: noqa: N818 - the names say what happened, and `Error` would say nothing more


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
