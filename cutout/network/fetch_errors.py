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
        - NotReached    the egress proxy does not connect to this server, or its name is not resolved now
    - EgressUnavailable the operator's own proxy gives no connection: nothing is known of the server
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


class NotReached(Unreachable):
    """No connection through the egress proxy. An outage may look the same: try again after minutes."""


class EgressUnavailable(Unfinished):
    """`maybe_server`: the server may be at fault as well, so it must not be waited for without end."""

    def __init__(self, message: str, *, maybe_server: bool = False) -> None:
        super().__init__(message)
        self.maybe_server = maybe_server


class DeadlinePassed(Unfinished):
    pass


class Truncated(Unfinished):
    pass
