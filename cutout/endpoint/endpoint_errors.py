"""Errors of calls to the endpoint and of downloads, and the file that a wrong result is.

EndpointError
  x NotSent               the request was not sent completely: nothing can have been charged
  x NoAnswer              it was sent completely and no answer came: it may have been charged
  x ResultError           the result was paid for and is not there yet
    - ResultGone          deleted: the endpoint keeps a result for 24 hours
    - ResultUrlRefused    its host is not in the allow-list, or not public
    - ResultUnavailable   the next download may succeed
      + ResultDamaged     bytes came, and the next download may be complete
      + ResultText        a text came instead, probably a page about an outage
    - ResultWrong         complete, and lacks what was bought

No message holds a result URL or an API key.
"""
# ruff: noqa: N818 - the names tell what happened; `Error` would add nothing

from dataclasses import dataclass, field

from cutout.network import Blob

UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """Bytes that came for a paid call. `extension` without a dot; no width and height if it is no picture.

    A file that is no picture never gets its own media type: a page must not run where the bucket serves it.
    """

    data: Blob = field(repr=False)
    media_type: str = UNKNOWN_TYPE
    extension: str = "bin"
    width: int | None = None
    height: int | None = None


class EndpointError(Exception):
    pass


class NotSent(EndpointError):
    pass


class NoAnswer(EndpointError):
    pass


class ResultError(EndpointError):
    pass


class ResultGone(ResultError):
    pass


class ResultUrlRefused(ResultError):
    pass


class ResultUnavailable(ResultError):
    pass


class ResultDamaged(ResultUnavailable):
    def __init__(self, message: str, found: FoundFile) -> None:
        super().__init__(message)
        self.found = found


class ResultText(ResultDamaged):
    pass


class ResultWrong(ResultError):
    """The result is complete and lacks what was bought. `saved`: its bytes came from the lifeboat."""

    def __init__(self, message: str, found: FoundFile) -> None:
        super().__init__(message)
        self.found = found
        self.saved = False
