import errno
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cutout.ingest import IngestError
from cutout.ingest.ingest_errors import NoRoomError
from cutout.ingest.sources.archive import Archive
from cutout.ingest.sources.archive_list import MOST_MEMBERS
from cutout.models import Job
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run


@pytest.fixture
def packed(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """A zip archive of these members."""

    def pack(members: dict[str, bytes]) -> Path:
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return pack


Packed = Callable[[dict[str, bytes]], Path]


class TestAnArchive:
    def test_gives_each_picture_its_name_and_its_bytes(
        self, run: Run, packed: Packed, bucket: Bucket, stored: Callable[[], list[Job]]
    ) -> None:
        """Pictures are unpacked into the bucket; other files and macOS metadata files are skipped."""
        members = {"b/hat.png": b"hat", "shoe.jpg": b"shoe", "notes.txt": b"x", "__MACOSX/._shoe.jpg": b"x"}
        assert run(packed(members)).counts.jobs == 2
        read = {}
        for job in stored():
            key = bucket.key_of(job.source)
            assert key is not None
            read[job.external_id] = bucket.read(key, max_bytes=100)
        assert read == {"b/hat": b"hat", "shoe": b"shoe"}

    @pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
    def test_rejects_a_path_outside_of_it(
        self, run: Run, packed: Packed, rejected: Callable[[], list[list[str]]], name: str
    ) -> None:
        """No file of that name is written anywhere, and the other members are ingested."""
        assert run(packed({name: b"evil", "good.jpg": b"good"})).counts.jobs == 1
        assert "points outside the archive" in rejected()[0][3]

    def test_rejects_a_member_that_is_damaged(
        self, run: Run, packed: Packed, rejected: Callable[[], list[list[str]]]
    ) -> None:
        """Its checksum is wrong: only this picture is rejected."""
        path = packed({"bad.jpg": b"q" * 50, "good.jpg": b"good"})
        content = bytearray(path.read_bytes())
        place = content.index(b"bad.jpg") + len("bad.jpg")
        content[place] ^= 0xFF
        path.write_bytes(content)
        assert run(path).counts.jobs == 1
        assert "cannot be unpacked" in rejected()[0][3]

    def test_rejects_a_member_of_no_or_too_many_bytes(
        self, run: Run, packed: Packed, rejected: Callable[[], list[list[str]]]
    ) -> None:
        """The limit is that of any source, and nothing of the member is unpacked."""
        path = packed({"empty.jpg": b"", "large.jpg": b"x" * 101, "good.jpg": b"good"})
        assert run(path, changed={"max_source_bytes": 100}).counts.jobs == 1
        assert [line[3].partition(";")[0] for line in rejected()] == ["has 0 bytes", "has 101 bytes"]

    def test_that_is_a_bomb_is_refused(self, packed: Packed) -> None:
        """An archive that unpacks to a hundred times its size is not unpacked."""
        path = packed({f"{n}.png": b"\0" * 30_000_000 for n in range(4)})
        with pytest.raises(IngestError, match="would unpack to 120,000,000, which pictures never do"):
            Archive(path, max_bytes=50_000_000)

    def test_of_too_many_members_is_refused_unread(self, tmp_path: Path) -> None:
        """The number is at the end of the file, and is checked before the list is read into memory."""
        path = tmp_path / "many.zip"
        most = MOST_MEMBERS + 1
        end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, most, most, 46 * most, 0)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        path.write_bytes(end_64 + locator + end)
        with pytest.raises(IngestError, match="lists 100,001 files"):
            Archive(path, max_bytes=100)

    @pytest.mark.parametrize("keep", [4, 40, 90])
    def test_that_is_truncated_is_refused(self, packed: Packed, keep: int) -> None:
        """The list of members is at the end of the file."""
        path = packed({"a.jpg": b"picture", "b.jpg": b"picture"})
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(IngestError, match="is truncated or is no zip archive"):
            Archive(path, max_bytes=100)

    def test_without_pictures_names_the_endings_looked_for(self, packed: Packed) -> None:
        """An archive without pictures makes no batch."""
        with pytest.raises(IngestError, match="holds no pictures; looked for"):
            Archive(packed({"notes.txt": b"x"}), max_bytes=100)

    def test_with_a_password_rejects_its_pictures(
        self, run: Run, packed: Packed, rejected: Callable[[], list[list[str]]]
    ) -> None:
        """They cannot be read; the reason tells so."""
        path = packed({"a.jpg": b"picture"})
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
        assert run(path).batch_id is None
        assert "is encrypted" in rejected()[0][3]

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_rejects_a_member_that_bursts_at_once(
        self, run: Run, tmp_path: Path, rejected: Callable[[], list[list[str]]], method: int
    ) -> None:
        """A few kilobytes that unpack to megabytes at once are refused."""
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bad.jpg", bytes(8_000_000), method)
            archive.writestr("bad", bytes(8_000_000), method)
            archive.writestr("good.jpg", b"good")
        path.write_bytes(path.read_bytes().replace(struct.pack("<L", 8_000_000), struct.pack("<L", 1000)))
        tracemalloc.start()
        try:
            assert run(path).counts.jobs == 1
            assert tracemalloc.get_traced_memory()[1] < 6_000_000
        finally:
            tracemalloc.stop()
        assert "is packed by method" in rejected()[0][3]

    def test_without_disk_space_for_a_member_ends(
        self, run: Run, packed: Packed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk is no fault of the picture: nothing is rejected."""

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("cutout.ingest.sources.archive._MemberContent._unpack", full)
        with pytest.raises(NoRoomError, match="has no space for a picture"):
            run(packed({"a.jpg": b"a"}))


def listed(members: int) -> bytes:
    """A list with this number of members."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 1, 1, 5, 0, 0, 0, 0, 0, 0)
    return (entry + b"a.jpg") * members


def end_of(members: int, list_bytes: int, begin: int) -> bytes:
    """The 64-bit end record."""
    return struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, list_bytes, begin)


SHORT_END = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


class TestAnArchiveWithAForgedList:
    def test_by_a_second_record_is_refused(self, tmp_path: Path) -> None:
        """The locator references a record of one member, and another one precedes the locator."""
        path, members = tmp_path / "lies.zip", listed(1000)
        fake = end_of(1, 60, 0)
        content = fake + members + end_of(1000, len(members), len(fake))
        path.write_bytes(content + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + SHORT_END)
        with pytest.raises(IngestError, match="its two lists of files differ"):
            Archive(path, max_bytes=100)

    def test_by_its_short_record_is_refused(self, tmp_path: Path) -> None:
        """The two records have different numbers."""
        path, members = tmp_path / "lies.zip", listed(10)
        content = members + end_of(10, len(members), 0)
        content += struct.pack("<4sLQL", b"PK\6\7", 0, len(members), 1)
        path.write_bytes(content + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 51, 0, 0))
        with pytest.raises(IngestError, match="its two lists of files differ"):
            Archive(path, max_bytes=100)

    @pytest.mark.parametrize("says", [1, 999])
    def test_about_their_number_is_refused(self, tmp_path: Path, says: int) -> None:
        """The members that zipfile reads are counted."""
        path, members = tmp_path / "lies.zip", listed(1000)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, says, says, len(members), 0, 0)
        path.write_bytes(members + end)
        with pytest.raises(IngestError, match="its two lists of files differ"):
            Archive(path, max_bytes=100)

    def test_about_very_many_takes_no_memory(self, tmp_path: Path) -> None:
        """They are counted before an object is created for any of them."""
        path, members = tmp_path / "lies.zip", listed(200_000)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(members), 0, 0)
        path.write_bytes(members + end)
        size = path.stat().st_size
        tracemalloc.start()
        try:
            with pytest.raises(IngestError, match="lists 200,000 files"):
                Archive(path, max_bytes=100)
            assert tracemalloc.get_traced_memory()[1] < 1.2 * size
        finally:
            tracemalloc.stop()
