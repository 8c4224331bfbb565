import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cutout.ingest import IngestError
from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.directory import Directory
from cutout.models import Job
from tests.cutout.ingest.conftest import Run


def directory(path: Path, *names: str) -> Directory:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"picture")
    return Directory(path, max_bytes=100)


def names(source: Directory) -> list[str]:
    return [picture.external_id for record in source.records() for picture in record.pictures]


class TestADirectory:
    def test_gives_each_picture_its_name(self, tmp_path: Path) -> None:
        """The external id is the path below the directory without its ending; other files are skipped."""
        source = directory(tmp_path, "b.PNG", "a.jpg", "shoes/left.webp", "notes.txt", "README")
        assert names(source) == ["a", "b", "shoes/left"]
        assert source.extent.total == source.position() == 3

    def test_tells_equal_names_apart_by_their_endings(self, tmp_path: Path) -> None:
        """shoe.jpg beside shoe.png keep their endings, and the name of no third file collides with them."""
        source = directory(tmp_path, "hat.jpg", "shoe.jpg", "shoe.png", "shoe.jpg.png", "x/shoe.jpg")
        assert names(source) == ["hat", "shoe.jpg", "shoe.jpg.png", "shoe.png", "x/shoe"]

    def test_accepts_a_name_that_is_an_ending(self, tmp_path: Path) -> None:
        """A file called `..jpg` keeps a name without its ending."""
        assert names(directory(tmp_path, "..jpg")) == ["."]

    @pytest.mark.parametrize("name", ["a\nb.jpg", "caf\udce9.jpg", f"{'d' * 200}/{'n' * 200}.jpg"])
    def test_rejects_a_name_that_cannot_be_an_id(self, tmp_path: Path, name: str) -> None:
        """A line break, a byte that is not UTF-8, more than 255 characters: rejected by name, the others are
        ingested.
        """
        source = directory(tmp_path, name, "good.jpg")
        (reject,) = [reject for record in source.records() for reject in record.rejects]
        assert names(source) == ["good"]
        assert reject.value == name[:200]
        assert "external_id" in reject.reason

    def test_without_pictures_names_the_endings_looked_for(self, tmp_path: Path) -> None:
        """The error names the directory and the endings."""
        (tmp_path / "notes.txt").write_bytes(b"x")
        with pytest.raises(IngestError, match=rf"{tmp_path} holds no pictures; looked for .*\.jpg"):
            directory(tmp_path)

    def test_does_not_follow_a_link_out_of_it(self, tmp_path: Path) -> None:
        """A linked file outside the directory is not read, nor are the files of a linked folder."""
        (tmp_path / "secret.jpg").write_bytes(b"secret")
        source = directory(tmp_path / "photos", "good.jpg")
        (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
        (tmp_path / "photos" / "folder").symlink_to(tmp_path)
        assert names(source) == ["good", "link"]
        with pytest.raises(UnusableError, match="points outside"):
            source.locate("link.jpg")

    def test_skips_a_pipe(self, tmp_path: Path) -> None:
        """A pipe could block for ever, so it is skipped, whatever its name."""
        os.mkfifo(tmp_path / "pipe.jpg")
        assert names(directory(tmp_path, "good.jpg")) == ["good"]

    def test_has_the_same_identity_until_a_picture_changes(self, tmp_path: Path) -> None:
        """Equal files give an equal identity; another size, time or name gives another one."""
        first = directory(tmp_path, "a.jpg").identity
        assert Directory(tmp_path, max_bytes=100).identity == first
        os.utime(tmp_path / "a.jpg", ns=(1, 1))
        assert Directory(tmp_path, max_bytes=100).identity != first

    def test_that_is_too_deep_is_refused(self, tmp_path: Path) -> None:
        """The error names a folder to ingest by itself."""
        with pytest.raises(IngestError, match="more than 64 folders deep"):
            directory(tmp_path, "/".join(["d"] * 66) + "/a.jpg")

    def test_rejects_a_picture_that_cannot_be_read(
        self,
        run: Run,
        stored: Callable[[], list[Job]],
        rejected: Callable[[], list[list[str]]],
        tmp_path: Path,
    ) -> None:
        """The reject has the system's reason; the others are enqueued with their hashes."""
        directory(tmp_path / "photos", "a.jpg", "b.jpg")
        (tmp_path / "photos" / "b.jpg").write_bytes(b"")
        assert run(tmp_path / "photos").counts.jobs == 1
        (job,) = stored()
        assert job.source_sha256 is not None
        assert job.source.endswith(job.source_sha256.hex())
        assert rejected()[0][2] == "b.jpg"
