"""What can go wrong between us and the endpoint, beside the answers it gives.

EndpointError
  x NotSent               the request did not go out whole: nothing can have been charged
  x NoAnswer              it went out whole, and no answer came: it may have been charged
  x ResultError           the result was paid for and is not there yet
    - ResultGone          deleted: the endpoint keeps a result for 24 hours
    - ResultUrlRefused    its host is not in the allow-list, or not public
    - ResultUnavailable   may be there next time
      + ResultDamaged     bytes came, and the next download may be whole
      + ResultText        a text came instead, most likely a page about an outage
    - ResultWrong         whole, and lacks what was bought

No message holds a result URL or an API key.
"""
# ruff: noqa: N818 - the names say what happened, and `Error` would say nothing more

from cutout.endpoint.received_form import FoundFile


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
    """`saved`: its bytes came from the lifeboat."""

    def __init__(self, message: str, found: FoundFile) -> None:
        super().__init__(message)
        self.found = found
        self.saved = False
