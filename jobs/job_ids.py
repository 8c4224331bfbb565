"""Which jobs something is to be done with, fixed at one moment and kept on disk: 16 MB a million."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from sqlalchemy import ColumnElement, Engine, func, select, text

from jobs.models import JOBS

ID_BYTES = 16
KEPT_IN_MEMORY = 1_048_576
ROWS_A_ROUND_TRIP = 10_000


@dataclass(frozen=True, slots=True)
class JobIds:
    """Ids in the order in which the jobs were enqueued."""

    total: int
    file: IO[bytes]

    def pages(self, size: int) -> Iterator[list[uuid.UUID]]:
        """All of them from the first, `size` at a time."""
        self.file.seek(0)
        while page := self.file.read(size * ID_BYTES):
            yield [uuid.UUID(bytes=page[at : at + ID_BYTES]) for at in range(0, len(page), ID_BYTES)]


@contextmanager
def find_ids(engine: Engine, *where: ColumnElement[bool]) -> Iterator[JobIds]:
    """The jobs of which this is true now. No transaction is open while they are used, however long it takes.

    Pages by the last id seen would need an index of ids by batch, or read all that other batches enqueued
    meanwhile.
    """
    with SpooledTemporaryFile(KEPT_IN_MEMORY) as file:
        total = 0
        with engine.begin() as connection:
            # All rows are fetched; by default a cursor is planned for the first tenth.
            connection.execute(text("SET LOCAL cursor_tuple_fraction = 1"))
            ids = select(func.uuid_send(JOBS.c.id)).where(*where).order_by(JOBS.c.id)
            found = connection.execution_options(yield_per=ROWS_A_ROUND_TRIP).scalars(ids)
            for page in found.partitions():
                file.write(b"".join(page))
                total += len(page)
        yield JobIds(total, file)
