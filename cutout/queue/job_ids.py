"""Ids of the jobs for one action, selected at one moment and kept on disk: 16 MB for a million."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO

from sqlalchemy import ColumnElement, Engine, func, select, text

from cutout.models import JOBS

ID_BYTES = 16
KEPT_IN_MEMORY = 1_048_576
ROWS_A_ROUND_TRIP = 10_000


class NoRoomForIdsError(OSError):
    """The directory for temporary files has no room for the ids."""


@dataclass(frozen=True, slots=True)
class JobIds:
    """Ids in the order in which the jobs were enqueued."""

    total: int
    file: IO[bytes]

    def pages(self, size: int) -> Iterator[list[uuid.UUID]]:
        """Yield all ids from the first, `size` at a time."""
        self.file.seek(0)
        while page := self.file.read(size * ID_BYTES):
            yield [uuid.UUID(bytes=page[at : at + ID_BYTES]) for at in range(0, len(page), ID_BYTES)]


@contextmanager
def find_ids(engine: Engine, *where: ColumnElement[bool]) -> Iterator[JobIds]:
    """Select the jobs that match now. No transaction is open while the ids are used.

    Pages by the last id would need an index of ids by batch, or read all that other batches enqueued
    meanwhile. Raises NoRoomForIdsError.
    """
    with ExitStack() as stack:
        file: IO[bytes] = SpooledTemporaryFile(KEPT_IN_MEMORY)  # noqa: SIM115 - on the stack
        stack.callback(_close, file)
        yield JobIds(_fill(engine, where, file), file)


def _fill(engine: Engine, where: Sequence[ColumnElement[bool]], file: IO[bytes]) -> int:
    total = 0
    with engine.begin() as connection:
        # All rows are fetched; by default a cursor is planned for the first tenth.
        connection.execute(text("SET LOCAL cursor_tuple_fraction = 1"))
        ids = select(func.uuid_send(JOBS.c.id)).where(*where).order_by(JOBS.c.id)
        with connection.execution_options(yield_per=ROWS_A_ROUND_TRIP).execute(ids) as found:
            for page in found.scalars().partitions():
                total += len(page)
                _write(file, b"".join(page), total)
    return total


def _write(file: IO[bytes], page: bytes, total: int) -> None:
    try:
        file.write(page)
        file.flush()
    except OSError as error:
        needed = total * ID_BYTES / 1_000_000
        raise NoRoomForIdsError(
            error.errno,
            f"the ids of {total:,} jobs or more need {needed:,.1f} MB or more in {gettempdir()}"
            f" ({error.strerror}): free space there, or set TMPDIR to another directory",
        ) from error


def _close(file: IO[bytes]) -> None:
    # Closing tries once more to write what did not fit.
    with suppress(OSError):
        file.close()
