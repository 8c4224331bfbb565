"""ArchiveSpace for archives on the disk for temporary files."""

import uuid
from types import SimpleNamespace
from typing import cast

import pytest

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.quota_room import IngestDelayedError
from cutout.ingest.sources.files import SourceFile
from cutout.settings import Settings
from worker.ingester import archive_space
from worker.ingester.archive_space import ArchiveSpace

A, B = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ArchiveSpace:
    """Of 1000 bytes; an archive may have 400, a picture 10."""
    monkeypatch.setattr(archive_space, "free_bytes", lambda: 1000)
    return ArchiveSpace(settings.model_copy(update={"max_archive_bytes": 400, "max_source_bytes": 10}))


def archive(size: int) -> SourceFile:
    return cast("SourceFile", SimpleNamespace(name="the upload", size=size))


class TestRoom:
    def test_is_none_for_an_archive_that_is_too_large(self, room: ArchiveSpace) -> None:
        """It will never be, and it says the limit."""
        with pytest.raises(IngestError, match="a zip archive of 401 bytes, and at most 400") as refused:
            room.reserve(uuid.uuid4(), A, archive(401)).__enter__()
        assert not isinstance(refused.value, NoRoomError)

    def test_of_one_producer_leaves_that_of_others(self, room: ArchiveSpace) -> None:
        """Its archives together take no more than one may; once one is given up there is room again."""
        first = uuid.uuid4()
        with room.reserve(first, A, archive(300)):
            pass
        with pytest.raises(IngestDelayedError, match="waits until other archives of the same"):
            room.reserve(uuid.uuid4(), A, archive(200)).__enter__()
        with room.reserve(uuid.uuid4(), B, archive(400)):
            pass
        room.free(first)
        with room.reserve(uuid.uuid4(), A, archive(200)):
            pass

    def test_counts_what_is_being_copied_and_unpacked(self, room: ArchiveSpace) -> None:
        """All of it before any of it is written."""
        with room.reserve(uuid.uuid4(), A, archive(400)), room.reserve(uuid.uuid4(), B, archive(400)):
            with pytest.raises(
                IngestDelayedError, match="waits until other archives, which take the disk space, are read"
            ):
                room.reserve(uuid.uuid4(), uuid.UUID(int=3), archive(121)).__enter__()
            with room.reserve(uuid.uuid4(), uuid.UUID(int=3), archive(120)):
                pass

    def test_that_no_archive_takes_is_the_machines(
        self, room: ArchiveSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Waiting for others would be for ever."""
        monkeypatch.setattr(archive_space, "free_bytes", lambda: 200)
        with pytest.raises(NoRoomError, match="has space for 200") as refused:
            room.reserve(uuid.uuid4(), A, archive(121)).__enter__()
        assert not isinstance(refused.value, IngestDelayedError)

    def test_is_kept_for_a_second_reading(self, room: ArchiveSpace) -> None:
        """One request opens its archive twice."""
        batch_id = uuid.uuid4()
        for _ in range(2):
            with room.reserve(batch_id, A, archive(400)):
                pass
