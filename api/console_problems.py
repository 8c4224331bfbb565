"""Problems of the API as pages of the console."""

from http import HTTPStatus

from api.problems import ProblemError
from console import PageError


def page_of(error: ProblemError, remedy: str) -> PageError:
    """The page that says what the problem does, and what follows from it."""
    wait = (error.headers or {}).get("Retry-After")
    detail = str(error.detail)
    return PageError(
        HTTPStatus(error.status_code),
        f"{detail[:1].upper()}{detail[1:]}.",
        remedy,
        wait_s=int(wait) if wait else None,
    )
