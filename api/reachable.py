"""Refuses addresses that this installation can never fetch from, before anything is stored."""

from collections.abc import Iterable
from http import HTTPStatus

from api.problems import ProblemError
from jobs.ingest.addresses import Addresses
from jobs.ingest.errors import UnusableError
from jobs.settings import Settings


def require_reachable(known: Settings, urls: Iterable[str], *, field: str, kind: str = "invalid-job") -> None:
    """A problem 422 for the first of the addresses that can never work, as for a row of a manifest."""
    addresses = Addresses.on_the_web(known)
    for url in urls:
        try:
            addresses.check(url)
        except UnusableError as error:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, kind, f"{field}: {url[:200]!r} {error}", field=field
            ) from None
