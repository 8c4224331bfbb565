"""Room for zip archives, which are copied whole before they are read, on the disk for temporary files."""

import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.quota_room import IngestRestsError
from cutout.ingest.sources.files import SourceFile
from cutout.ingest.sources.temporary_space import free_bytes, unpacked_bytes
from cutout.settings import Settings

ARCHIVE_ROOM_TAKEN = "ARCHIVE_ROOM_TAKEN"


class Room:
    """Shared by all archives of a process. One producer's together are no larger than one may be."""

    def __init__(self, known: Settings) -> None:
        self._most = known.max_archive_bytes
        self._beside = unpacked_bytes(known)
        self._lock = threading.Lock()
        self._copies: dict[uuid.UUID, tuple[uuid.UUID, int]] = {}
        self._copying: dict[uuid.UUID, int] = {}

    @contextmanager
    def make(self, batch_id: uuid.UUID, owner: uuid.UUID, file: SourceFile) -> Iterator[None]:
        """Keep room for a copy while it is written, and count it until it is given up.

        Raises IngestError for an archive that is too large, IngestRestsError while other archives take the
        room, for as long as that may be, and NoRoomError if it is something else that does.
        """
        if file.size > self._most:
            raise IngestError(
                f"{file.name} is a zip archive of {file.size:,} bytes, and at most {self._most:,} are taken:"
                " pack its pictures into several"
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

    def give_up(self, batch_id: uuid.UUID) -> None:
        """The copy was removed, if there was one."""
        with self._lock:
            self._copies.pop(batch_id, None)

    def _require(self, batch_id: uuid.UUID, owner: uuid.UUID, file: SourceFile) -> None:
        its_own = sum(
            size for other, (who, size) in self._copies.items() if who == owner and other != batch_id
        )
        if its_own + file.size > self._most:
            raise IngestRestsError(
                ARCHIVE_ROOM_TAKEN, f"{file.name} waits until other archives of the same producer are read"
            )
        free = free_bytes() - sum(self._copying.values())
        if file.size + self._beside <= free:
            return
        if self._copies.keys() - {batch_id}:
            raise IngestRestsError(
                ARCHIVE_ROOM_TAKEN, f"{file.name} waits until other archives are read, which take the room"
            )
        raise NoRoomError(
            f"{file.name} has {file.size:,} bytes, its pictures take up to {self._beside:,} beside them,"
            f" and {tempfile.gettempdir()} has room for {free:,}: make room, or set TMPDIR"
        )
