"""Reservations of disk space among the archives that one ingester process reads."""

import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.quota_room import IngestDelayedError
from cutout.ingest.sources.files import SourceFile
from cutout.ingest.sources.temporary_space import free_bytes, unpacked_bytes
from cutout.settings import Settings

ARCHIVE_ROOM_TAKEN = "ARCHIVE_ROOM_TAKEN"


class ArchiveSpace:
    """Disk space shared by the archives of a process. One producer's archives together may not exceed the
    limit for one.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_archive_bytes
        self._unpacked = unpacked_bytes(settings)
        self._lock = threading.Lock()
        self._copies: dict[uuid.UUID, tuple[uuid.UUID, int]] = {}
        self._copying: dict[uuid.UUID, int] = {}

    @contextmanager
    def reserve(self, batch_id: uuid.UUID, owner: uuid.UUID, file: SourceFile) -> Iterator[None]:
        """Reserve space for a copy while it is written, and count the copy until free() is called.

        Raises IngestError for an archive that is too large, IngestDelayedError while other archives take the
        space, and NoRoomError if something else does.
        """
        if file.size > self._most:
            raise IngestError(
                f"{file.name} is a zip archive of {file.size:,} bytes, and at most {self._most:,} are taken:"
                " pack its pictures into several archives"
            )
        with self._lock:
            self._require(batch_id, owner, file)
            self._copies[batch_id] = owner, file.size
            self._copying[batch_id] = file.size
        try:
            yield
        finally:
            with self._lock:
                del self._copying[batch_id]

    def free(self, batch_id: uuid.UUID) -> None:
        """Stop counting the copy of a batch, if there is one."""
        with self._lock:
            self._copies.pop(batch_id, None)

    def _require(self, batch_id: uuid.UUID, owner: uuid.UUID, file: SourceFile) -> None:
        owned = sum(size for other, (who, size) in self._copies.items() if who == owner and other != batch_id)
        if owned + file.size > self._most:
            raise IngestDelayedError(
                ARCHIVE_ROOM_TAKEN, f"{file.name} waits until other archives of the same producer are read"
            )
        free = free_bytes() - sum(self._copying.values())
        if file.size + self._unpacked <= free:
            return
        if self._copies.keys() - {batch_id}:
            raise IngestDelayedError(
                ARCHIVE_ROOM_TAKEN,
                f"{file.name} waits until other archives, which take the disk space, are read",
            )
        raise NoRoomError(
            f"{file.name} has {file.size:,} bytes, its pictures take up to {self._unpacked:,} more,"
            f" and {tempfile.gettempdir()} has space for {free:,}: make room, or set TMPDIR"
        )
