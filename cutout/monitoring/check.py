"""A health check: its type, and runs that turn errors into failed checks."""

from collections.abc import Callable
from dataclasses import dataclass

import redis
from sqlalchemy.exc import DBAPIError, ProgrammingError, SQLAlchemyError

from cutout.models.database import is_away
from cutout.storage import StorageError


class ReadOnlyError(Exception):
    """Postgres answers, but accepts no writes."""


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check: `found` is "ok" or the fault, `remedy` the next step if it failed.

    `needed`: without it no job can be accepted; without the others jobs only wait. `cause` is the error that
    was raised, if any.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True
    cause: Exception | None = None


def passed(name: str) -> Check:
    """A passed check that is not needed to accept jobs."""
    return Check(name, ok=True, found="ok", needed=False)


def failed(name: str, found: str, remedy: str) -> Check:
    """A failed check that is not needed to accept jobs."""
    return Check(name, ok=False, found=found, remedy=remedy, needed=False)


def run_check(name: str, test: Callable[[], None], remedy: str) -> Check:
    """Run a test that raises if it fails; the check has the error's first line."""
    try:
        test()
    except (SQLAlchemyError, ReadOnlyError, redis.RedisError, StorageError) as error:
        return Check(name, ok=False, found=_first_line(error), remedy=remedy, cause=error)
    return Check(name, ok=True, found="ok")


def is_reported_elsewhere(error: DBAPIError) -> bool:
    """Whether Postgres is unreachable or lacks the schema, which the checks of the database report."""
    return is_away(error) or isinstance(error, ProgrammingError)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n")[0]
