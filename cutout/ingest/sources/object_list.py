"""List of a prefix's pictures on disk: the prefix is listed once, and read from here."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, cast

from cutout.ingest.ingest_errors import NoRoomError
from cutout.storage import ListedObject

IN_MEMORY_BYTES = 1024 * 1024
OBJECTS_IN_BLOCK = 1000


class ObjectList:
    """Listed objects in order, a thousand in a line: each takes some 50 bytes and those of its key."""

    def __init__(self) -> None:
        self._file = cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))  # noqa: SIM115 - closed by close()

    def keep(self, objects: Iterable[ListedObject]) -> Iterator[ListedObject]:
        """Write the objects down, and yield each once it is. Raises NoRoomError if the disk is full."""
        remaining = iter(objects)
        while block := list(islice(remaining, OBJECTS_IN_BLOCK)):
            line = f"{json.dumps(block)}\n".encode()
            with _on_disk():
                self._file.write(line)
            yield from block
        with _on_disk():
            self._file.flush()

    def __iter__(self) -> Iterator[ListedObject]:
        """Read the objects from the start. One reading at a time."""
        self._file.seek(0)
        for line in self._file:
            yield from map(ListedObject._make, json.loads(line))

    def close(self) -> None:
        """Delete the list."""
        self._file.close()


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoRoomError(
            f"{tempfile.gettempdir()} has no space for the list of a prefix: {error.strerror}; make room, or"
            " set TMPDIR"
        ) from error
