import csv
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.models import Ingest
from cutout.queue.attempts.outcomes import Fail
from cutout.storage import Bucket
from tests.cli.command import Cutout
from tests.support.fates import DONE, Fates

COLUMNS = [
    "external_id", "return_form", "state", "key", "sha256", "media_type", "width", "height", "size_bytes",
    "reused", "credits", "attempts", "error_code", "error_message", "warning", "request_id", "job_id",
    "output_state", "factor", "bought_key", "derived_from", "recipe", "version", "score", "score_reasons",
]  # fmt: skip
MakeBatch = Callable[[str, Fates], str]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


class TestResults:
    def test_have_a_row_for_every_job(
        self, cutout: Cutout, make_plain_batch: MakeBatch, tmp_path: Path
    ) -> None:
        """Key, size and checksum of what succeeded, code and message of what failed, in order."""
        batch_id = make_plain_batch("b", {"a": DONE, 'ü, "b"': Fail("BROKEN", "cut off, sadly")})
        ran = cutout("results", batch_id, "-o", "out.csv")
        said = "2 rows written; 1 with a cutout, 1 failed (see error_code)\n"
        assert (ran.code, ran.stdout, ran.stderr) == (1, "", said)
        good, bad = rows_of(tmp_path / "out.csv")
        assert list(good) == COLUMNS
        assert (good["external_id"], good["state"], good["key"]) == ("a", "succeeded", "cutouts/a.png")
        assert (good["sha256"], good["media_type"]) == ("ab" * 32, "image/png")
        assert (good["width"], good["height"], good["size_bytes"]) == ("10", "20", "12345")
        assert (good["error_code"], good["error_message"], good["credits"]) == ("", "", "0")
        assert (bad["external_id"], bad["state"], bad["key"]) == ('ü, "b"', "failed", "")
        assert (bad["error_code"], bad["error_message"]) == ("BROKEN", "cut off, sadly")
        assert cutout("status", good["job_id"]).code == 0

    def test_exit_0_only_when_every_job_succeeded(self, cutout: Cutout, make_plain_batch: MakeBatch) -> None:
        """The exit code is the batch's: 0 when all succeeded, 3 while one is to come."""
        assert cutout("results", make_plain_batch("b", {"a": DONE})).code == 0
        assert cutout("results", make_plain_batch("b", {"a": DONE, "b": None})).code == 3

    def test_go_to_standard_output_for_a_dash(self, cutout: Cutout, make_plain_batch: MakeBatch) -> None:
        """`-` and no -o at all are the same: rows alone on stdout, the count on stderr."""
        batch_id = make_plain_batch("b", {"a": DONE})
        named, unnamed = cutout("results", batch_id, "-o", "-"), cutout("results", batch_id)
        assert named == unnamed
        header, row = csv.reader(named.stdout.splitlines())
        assert (header, row[0]) == (COLUMNS, "a")
        assert named.stderr == "1 row written; 1 with a cutout\n"

    def test_give_a_spreadsheet_no_formula(
        self, cutout: Cutout, make_plain_batch: MakeBatch, tmp_path: Path
    ) -> None:
        """A cell that would run is led by an apostrophe; any other is left alone."""
        outside = ["=1+1", "@x", "+1", "-1", "a=1", "'quoted"]
        batch_id = make_plain_batch("b", {name: Fail("BROKEN", f"{name}!") for name in outside})
        cutout("results", batch_id, "-o", "out.csv")
        rows = rows_of(tmp_path / "out.csv")
        shown = ["'=1+1", "'@x", "'+1", "'-1", "a=1", "'quoted"]
        assert [row["external_id"] for row in rows] == shown
        assert [row["error_message"] for row in rows] == [f"{name}!" for name in shown]

    def test_of_another_kind_of_id_are_refused(self, cutout: Cutout, make_plain_batch: MakeBatch) -> None:
        """Two batches that begin alike and an id of none are each said in one line."""
        make_plain_batch("a", {"a": None})
        make_plain_batch("b", {"a": None})
        assert cutout("results", "0").stderr == "several batches have an id that begins with '0'\n"
        none = cutout("results", "ffff")
        assert (none.code, none.stdout) == (2, "")
        assert none.stderr == "no batch has an id that begins with 'ffff'\n"


class TestOtherFormsOfResults:
    def test_are_objects_of_the_jobs_asked_for(self, cutout: Cutout, make_plain_batch: MakeBatch) -> None:
        """NDJSON of some states and codes; what was written is counted, the exit code is the batch's."""
        fates: Fates = {"a": DONE, "b": Fail("BROKEN", "m"), "c": Fail("GONE", "m"), "d": None}
        batch_id = make_plain_batch("b", fates)
        ran = cutout("results", batch_id, "--format", "ndjson", "--state", "failed", "--code", "GONE")
        assert [json.loads(line)["external_id"] for line in ran.stdout.splitlines()] == ["c"]
        assert (ran.code, ran.stderr) == (3, "1 row written; 1 failed (see error_code)\n")
        ran = cutout("results", batch_id)
        assert ran.stderr == "4 rows written; 1 with a cutout, 2 failed (see error_code), 1 waiting\n"

    def test_have_links_that_work(self, cutout: Cutout, make_plain_batch: MakeBatch, bucket: Bucket) -> None:
        """For as many hours as asked; no longer than S3 signs them for."""
        bucket.put_cutout(b"picture", key="cutouts/a.png", media_type="image/png", metadata={})
        batch_id = make_plain_batch("b", {"a": DONE})
        ran = cutout("results", batch_id, "--links", "--link-hours", "2")
        (row,) = csv.DictReader(ran.stdout.splitlines())
        assert "X-Amz-Expires=7200&" in row["url"]
        assert httpx.get(row["url"]).content == b"picture"
        assert cutout("results", batch_id, "--links", "--link-hours", "169").code == 2

    def test_stop_without_a_word_too_many_when_nobody_reads_on(
        self, cutout: Cutout, make_plain_batch: MakeBatch
    ) -> None:
        """`| head` has its lines, and the rest is one line."""
        batch_id = make_plain_batch("b", {"a": DONE})
        reader, writer = os.pipe()
        os.close(reader)
        process = cutout.start("results", batch_id, stdout=writer)
        os.close(writer)
        ran = cutout.ended(process)
        assert (ran.code, ran.stderr) == (2, "standard output cannot be written: Broken pipe\n")


class TestTheManifestGivenBack:
    @pytest.fixture
    def batch_id(self, make_plain_batch: MakeBatch, engine: Engine, bucket: Bucket) -> str:
        """A batch that was made of a manifest of three rows."""
        batch_id = make_plain_batch("b", {"a": DONE, "b": Fail("BROKEN", "m")})
        manifest = b"external_id,source\na,https://x/a.jpg\nb,https://x/b.jpg\n,https://x/c.jpg\n"
        bucket.put_pieces([manifest], key="manifests/m", media_type="text/csv")
        with Session(engine) as session, session.begin():
            kept = {"fingerprint": b"x", "kind": "CSV manifest", "manifest_key": "manifests/m"}
            session.add(Ingest(batch_id=uuid.UUID(batch_id), **kept))
        return batch_id

    def test_has_its_rows_with_columns_added(self, cutout: Cutout, batch_id: str, tmp_path: Path) -> None:
        """Every row is counted by what became of it."""
        ran = cutout("results", batch_id, "--as-input", "-o", "out.csv")
        said = "3 rows written; 1 with a cutout, 1 failed (see cutout_error), 1 rejected (see cutout_error)\n"
        assert (ran.code, ran.stdout, ran.stderr) == (1, "", said)
        rows = rows_of(tmp_path / "out.csv")
        assert [row["source"] for row in rows] == ["https://x/a.jpg", "https://x/b.jpg", "https://x/c.jpg"]
        assert [row["cutout_key"] for row in rows] == ["cutouts/a.png", "", ""]

    def test_that_is_gone_is_named(
        self, cutout: Cutout, batch_id: str, bucket: Bucket, tmp_path: Path
    ) -> None:
        """The key stands in the one line that is said, and no file is made."""
        bucket.delete("manifests/m")
        ran = cutout("results", batch_id, "--as-input", "-o", "out.csv")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr.endswith("has no object 'manifests/m'\n")
        assert not (tmp_path / "out.csv").exists()

    def test_is_not_there_for_every_batch(self, cutout: Cutout, make_plain_batch: MakeBatch) -> None:
        """A batch without one is told so, and what to do."""
        ran = cutout("results", make_plain_batch("b", {"a": DONE}), "--as-input")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr.endswith("there is none to add columns to; omit --as-input\n")

    def test_is_whole_and_in_its_own_format(self, cutout: Cutout, batch_id: str) -> None:
        """Options that would change that are refused."""
        for option in ("--format=csv", "--state=failed", "--code=X"):
            ran = cutout("results", batch_id, "--as-input", option)
            assert (ran.code, ran.stdout) == (2, "")
            assert "leave --format, --state and --code out" in ran.stderr


class TestAFileOfResults:
    def test_that_was_there_is_replaced(
        self, cutout: Cutout, make_plain_batch: MakeBatch, tmp_path: Path
    ) -> None:
        """The new file takes the old one's place, and nothing else is left in its directory."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "out.csv").write_text("old")
        assert cutout("results", make_plain_batch("b", {"a": DONE}), "-o", "out/out.csv").code == 0
        assert len(rows_of(tmp_path / "out" / "out.csv")) == 1
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.csv"]

    def test_is_written_whole_or_not_at_all(
        self, cutout: Cutout, engine: Engine, make_plain_batch: MakeBatch, tmp_path: Path
    ) -> None:
        """When the database fails half way the old file stays as it was."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "out.csv").write_text("old")
        batch_id = make_plain_batch("b", {"a": DONE})
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE attempts RENAME TO away"))
        ran = cutout("results", batch_id, "-o", "out/out.csv")
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert (tmp_path / "out" / "out.csv").read_text() == "old"
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.csv"]

    @pytest.mark.parametrize(
        ("path", "said"), [("no/out.csv", "No such file or directory"), ("file/out.csv", "Not a directory")]
    )
    def test_that_cannot_be_written_is_named(
        self, cutout: Cutout, make_plain_batch: MakeBatch, tmp_path: Path, path: str, said: str
    ) -> None:
        """The path and the system's reason are one line, and the exit code is 2."""
        (tmp_path / "file").touch()
        ran = cutout("results", make_plain_batch("b", {"a": DONE}), "-o", path)
        assert (ran.code, ran.stderr) == (2, f"{path} cannot be written: {said}\n")
