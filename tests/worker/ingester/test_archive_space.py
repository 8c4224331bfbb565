"""Disk space for zip archives in the directory for temporary files."""

import os
import tempfile
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.quota_room import IngestDelayedError
from cutout.ingest.sources.files import SourceFile
from cutout.ingest.sources.temporary_space import remove_left_behind
from cutout.settings import Settings
from worker.ingester import archive_space
from worker.ingester.archive_space import ArchiveSpace

A, B = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def space(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ArchiveSpace:
    """Of 1000 bytes; an archive may have 400, a picture 10."""
    monkeypatch.setattr(archive_space, "free_bytes", lambda: 1000)
    return ArchiveSpace(settings.model_copy(update={"max_archive_bytes": 400, "max_source_bytes": 10}))


def archive(size: int) -> SourceFile:
    return cast("SourceFile", SimpleNamespace(name="the upload", size=size))


class TestSpace:
    def test_is_none_for_an_archive_that_is_too_large(self, space: ArchiveSpace) -> None:
        """No delay helps, and the error has the limit."""
        with pytest.raises(IngestError, match="a zip archive of 401 bytes, and at most 400") as refused:
            space.reserve(uuid.uuid4(), A, archive(401)).__enter__()
        assert not isinstance(refused.value, NoRoomError)

    def test_of_one_producer_leaves_that_of_others(self, space: ArchiveSpace) -> None:
        """Its archives together take no more than one may; once one is freed there is space again."""
        first = uuid.uuid4()
        with space.reserve(first, A, archive(300)):
            pass
        with pytest.raises(IngestDelayedError, match="waits until other archives of the same"):
            space.reserve(uuid.uuid4(), A, archive(200)).__enter__()
        with space.reserve(uuid.uuid4(), B, archive(400)):
            pass
        space.free(first)
        with space.reserve(uuid.uuid4(), A, archive(200)):
            pass

    def test_counts_what_is_being_copied_and_unpacked(self, space: ArchiveSpace) -> None:
        """All sizes count before anything is written."""
        with space.reserve(uuid.uuid4(), A, archive(400)), space.reserve(uuid.uuid4(), B, archive(400)):
            with pytest.raises(
                IngestDelayedError, match="waits until other archives, which take the disk space, are read"
            ):
                space.reserve(uuid.uuid4(), uuid.UUID(int=3), archive(121)).__enter__()
            with space.reserve(uuid.uuid4(), uuid.UUID(int=3), archive(120)):
                pass

    def test_that_no_archive_takes_is_missing_on_the_machine(
        self, space: ArchiveSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A delay until other archives are read would never end."""
        monkeypatch.setattr(archive_space, "free_bytes", lambda: 200)
        with pytest.raises(NoRoomError, match="has space for 200") as refused:
            space.reserve(uuid.uuid4(), A, archive(121)).__enter__()
        assert not isinstance(refused.value, IngestDelayedError)

    def test_is_kept_for_a_second_reading(self, space: ArchiveSpace) -> None:
        """A request opens its archive twice."""
        batch_id = uuid.uuid4()
        for _ in range(2):
            with space.reserve(batch_id, A, archive(400)):
                pass


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies and directories of ours that are older than an hour, and nothing else."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "cutout-old").write_bytes(b"PK")
    (tmp_path / "cutout-dir").mkdir()
    (tmp_path / "cutout-dir" / "rejects.csv").write_bytes(b"line")
    (tmp_path / "theirs").write_bytes(b"x")
    for name in ("cutout-old", "cutout-dir", "theirs"):
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "cutout-new").write_bytes(b"PK")
    assert remove_left_behind() == 2
    assert {path.name for path in tmp_path.iterdir()} == {"theirs", "cutout-new"}
