from pathlib import Path

import httpx
import pytest

from cutout.ingest import IngestError, RejectsFile
from cutout.manifests import Reject
from cutout.storage import Bucket
from tests.support.plain_http import NO_TLS


def write(path: Path, value: str) -> None:
    with RejectsFile(path) as file:
        file.add(Reject(2, "source", value, "is wrong; mend it"))


class TestTheFileOfRejects:
    @pytest.mark.parametrize("begin", ["=", "+", "-", "@", " =", "\uff1d"])
    def test_runs_no_formula(self, tmp_path: Path, begin: str) -> None:
        """A cell that a spreadsheet would run as a formula gets a quote before it."""
        write(tmp_path / "r.csv", f"{begin}1+1")
        assert f"'{begin}1+1" in (tmp_path / "r.csv").read_bytes().decode()

    def test_controls_no_terminal(self, tmp_path: Path) -> None:
        """Control characters, line ends and direction marks are escaped, so that a row is a line."""
        write(tmp_path / "r.csv", "\x1b[31m\x00\ta\r\nb\u2028\u202egnp.exe\x9b")
        _, row, end = (tmp_path / "r.csv").read_bytes().decode().split("\r\n")
        assert row == r"2,source,\x1b[31m\x00\ta\r\nb\u2028\u202egnp.exe\x9b,is wrong; mend it"
        assert end == ""

    def test_is_stored_as_csv(self, tmp_path: Path, bucket: Bucket) -> None:
        """The stored media type leaves nothing for a browser to guess."""
        with RejectsFile(tmp_path / "r.csv") as file:
            file.add(Reject(2, "source", "x", "is wrong; mend it"))
            file.keep(bucket, "rejects/a.csv")
        answer = httpx.get(bucket.presign("rejects/a.csv", seconds=60), verify=NO_TLS)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"

    def test_accepts_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        """A byte that is not UTF-8 is written as an escape."""
        write(tmp_path / "r.csv", "caf\udce9.jpg")
        assert "caf\\xE9.jpg" in (tmp_path / "r.csv").read_text()

    def test_does_not_exist_without_rejects(self, tmp_path: Path) -> None:
        """An earlier run's file is removed: its rows may be fixed."""
        write(tmp_path / "r.csv", "x")
        with RejectsFile(tmp_path / "r.csv"):
            pass
        assert not (tmp_path / "r.csv").exists()

    def test_never_replaces_another_file(self, tmp_path: Path) -> None:
        """A file that does not begin like a rejects file belongs to a person."""
        (tmp_path / "list.csv").write_text("external_id,source\n")
        with pytest.raises(IngestError, match="is not a rejects file"):
            RejectsFile(tmp_path / "list.csv")

    def test_on_a_full_disk_names_the_remedy(self) -> None:
        """The error names the file and the remedy."""
        with pytest.raises(IngestError, match=r"/dev/full cannot be written: No space left.*--rejects"):
            write(Path("/dev/full"), "x")

    def test_where_there_is_no_directory_says_so(self, tmp_path: Path) -> None:
        """The directory is not created: its name may be a typing error."""
        with pytest.raises(IngestError, match="cannot be written: No such file"):
            write(tmp_path / "none" / "r.csv", "x")
