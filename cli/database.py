"""Commands speak to Postgres and the bucket themselves, as an operator's tool."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from cli.console import fail
from cutout.models import Batch, Job
from cutout.models.database import connect, is_away
from cutout.settings import read_settings
from cutout.status.batch_status import find_by_prefix
from migrations.run import LockedTableError, UnknownSchemaError


def open_database() -> Engine:
    """The database that the settings name."""
    return connect(read_settings().database_url.get_secret_value(), connections=2, name="cutout-cli")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a missing or empty database brings up into one line with the remedy."""
    try:
        yield
    except (UnknownSchemaError, LockedTableError) as error:
        fail(str(error))
    except DBAPIError as error:
        if is_away(error):
            said = str(error.orig).strip().splitlines()[0]
            fail(f"the database does not answer: {said}; try `cutout doctor`")
        if isinstance(error, ProgrammingError):
            fail("the database does not have cutout's tables; run `cutout migrate`")
        raise


def find_one(session: Session, prefix: str, *, batch_first: bool = False) -> Batch | Job:
    """The batch or job whose id begins so; ends the command when there is none or more than one.

    With `batch_first` one batch stands out among jobs: its own begin with the same digits, made in the same
    minute.
    """
    found = find_by_prefix(session, prefix)
    batches = [row for row in found if isinstance(row, Batch)]
    if batch_first and len(batches) == 1:
        return batches[0]
    if not found:
        fail(f"no batch or job has an id that begins with {prefix!r}")
    if len(found) > 1:
        fail(f"{prefix!r} begins the ids of more than one; write more of it")
    return found[0]


def find_batch(session: Session, prefix: str) -> Batch:
    """The batch whose id begins so; ends the command when there is none."""
    found = [row for row in find_by_prefix(session, prefix) if isinstance(row, Batch)]
    if len(found) != 1:
        fail(f"{'no batch has' if not found else 'several batches have'} an id that begins with {prefix!r}")
    return found[0]
