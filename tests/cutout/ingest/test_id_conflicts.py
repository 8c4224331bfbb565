"""Conflicts of external ids: no row gets the cutout of another picture."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.ingest import Ingest, IngestOptions, ReadOptions, RejectsFile, StrictError, estimate, open_source
from cutout.ingest import chunks as ingest_chunks
from cutout.manifests import Reject
from cutout.models import Job
from cutout.results import WrittenRows, find_manifest, write_as_input
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run

WEB = "https://shop.example"
Written = Callable[..., Path]
Stored = Callable[[], list[Job]]
Rejected = Callable[[], list[list[str]]]

ROWS = [("A", f"{WEB}/red.jpg"), ("A", f"{WEB}/blue.jpg"), ("B", f"{WEB}/c.jpg"), ("A", f"{WEB}/red.jpg")]
FORMATS = {
    "csv": "external_id,source\n" + "".join(f"{row[0]},{row[1]}\n" for row in ROWS),
    "tsv": "external_id\tsource\n" + "".join(f"{row[0]}\t{row[1]}\n" for row in ROWS),
    "ndjson": "".join(json.dumps({"external_id": row[0], "source": row[1]}) + "\n" for row in ROWS),
    "google": "id,image_link\n" + "".join(f"{row[0]},{row[1]}\n" for row in ROWS),
    "google xml": "<rss><channel>\n"
    + "".join(f"<item><id>{row[0]}</id><image_link>{row[1]}</image_link></item>\n" for row in ROWS)
    + "</channel></rss>",
}


@pytest.fixture
def succeeded(engine: Engine) -> Callable[[], None]:
    """Gives every job a cutout whose key is its source's last word."""

    def succeed() -> None:
        with engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE jobs SET state = 'succeeded', full_size = false, queue_state = NULL,
                        finished_at = now(),
                        key = 'of ' || coalesce(manifest_source, source), sha256 = '\\x00',
                        media_type = 'image/png', size_bytes = 1, width = 1, height = 1
                """)
            )

    return succeed


@pytest.fixture
def given_back(engine: Engine, bucket: Bucket) -> Callable[[Any], list[list[str]]]:
    """The state and key of each row of the manifest with results."""

    def back(batch_id: Any) -> list[list[str]]:
        with Session(engine) as session:
            kept = find_manifest(session, batch_id)
        file = b"".join(write_as_input(engine, bucket, kept, None, WrittenRows())).decode()
        rows = csv.DictReader(io.StringIO(file, newline=""))
        return [[row["cutout_state"], row["cutout_key"]] for row in rows]

    return back


class TestTheSameIdWithAnotherSource:
    @pytest.mark.parametrize("form", list(FORMATS))
    def test_is_a_reject_that_names_both_lines(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected, form: str
    ) -> None:
        """In every format; a repeated row is a duplicate."""
        counts = run(written(FORMATS[form])).counts
        assert (counts.pictures, counts.jobs, counts.rejects, counts.duplicates) == (4, 2, 1, 1)
        assert [(job.external_id, job.source) for job in stored()] == [ROWS[0], ROWS[2]]
        first = 1 if form == "ndjson" else 2
        ((line, column, value, reason),) = rejected()
        assert (line, column, value) == (str(first + 1), "external_id", "A")
        assert reason.startswith(
            f"is the id of two pictures: line {first} names one and line {first + 1} another"
        )

    def test_is_one_by_file_as_well(
        self, run: Run, written: Written, succeeded: Callable[[], None], given_back: Any
    ) -> None:
        """The file name decides, not its bytes; each row gets its own cutout only."""
        path = written("external_id,source\nA,none.jpg\nA,a.jpg\nA,b.jpg\nA,a.jpg\nB,b.jpg\n")
        (path.parent / "b.jpg").write_bytes(b"another")
        done = run(path)
        assert (done.counts.jobs, done.counts.rejects, done.counts.duplicates) == (2, 2, 1)
        succeeded()
        assert given_back(done.batch_id) == [
            ["rejected", ""],
            ["succeeded", "of a.jpg"],
            ["rejected", ""],
            ["succeeded", "of a.jpg"],
            ["succeeded", "of b.jpg"],
        ]

    def test_is_found_across_chunks(
        self, run: Run, written: Written, rejected: Rejected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However far the two rows are apart, and in both forms."""
        monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", 3)
        rows = "".join(f"{n},{WEB}/{n}.jpg\n" for n in range(10))
        done = run(written(f"external_id,source\n{rows}0,{WEB}/other.jpg\n"), forms=("rgba", "mask"))
        assert (done.counts.jobs, done.counts.rejects, done.counts.duplicates) == (20, 2, 0)
        ((line, _, _, reason),) = rejected()
        assert line == "12"
        assert "line 2 names one and line 12 another" in reason

    def test_is_none_in_another_form(self, run: Run, written: Written) -> None:
        """A mask may be made of another picture."""
        rows = f"external_id,source,return_form\nA,{WEB}/a.jpg,rgba\nA,{WEB}/b.jpg,mask\n"
        assert run(written(rows)).counts.jobs == 2

    def test_stops_a_strict_ingest(self, run: Run, written: Written, stored: Stored) -> None:
        """Nothing of its chunk is stored."""
        with pytest.raises(StrictError, match="line 3, external_id: 'A' is the id of two pictures"):
            run(written(FORMATS["csv"]), strict=True)
        assert stored() == []

    def test_is_reported_by_a_dry_run(
        self, engine: Engine, bucket: Bucket, settings: Settings, written: Written
    ) -> None:
        """The counts and the reject are equal, and nothing is stored."""
        reported: list[Reject] = []
        with closing(open_source(str(written(FORMATS["csv"])), ReadOptions(), settings, bucket)) as source:
            found = estimate(
                engine,
                bucket,
                source,
                IngestOptions("n"),
                None,
                on_reject=reported.append,
                watch=lambda _: None,
            )
        assert (found.counts.jobs, found.counts.rejects, found.counts.duplicates) == (2, 1, 1)
        assert [(reject.line, reject.column) for reject in reported] == [(3, "external_id")]
        assert "line 2 names one and line 3 another" in reported[0].reason

    def test_is_reported_again_by_a_resumed_ingest(  # noqa: PLR0917 - fixtures
        self,
        engine: Engine,
        bucket: Bucket,
        settings: Settings,
        run: Run,
        written: Written,
        rejects: Path,
        rejected: Rejected,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The rejects file is complete, though the first run stored the rows; files are compared by name."""
        monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", 2)
        path = written("external_id,source\nA,a.jpg\nB,b.jpg\nA,b.jpg\nA,a.jpg\nC,b.jpg\nC,a.jpg\nD,a.jpg\n")
        (path.parent / "b.jpg").write_bytes(b"another")
        seen = iter(range(2))

        def stop(_: object) -> None:
            if next(seen, None) is None:
                raise InterruptedError

        source = open_source(str(path), ReadOptions(), settings, bucket)
        with closing(source), RejectsFile(rejects) as file, pytest.raises(InterruptedError):
            Ingest(engine, bucket, source, IngestOptions("test"), file).run(
                on_resume=lambda *_: None, watch=stop
            )
        counts = run(path).counts
        assert (counts.jobs, counts.rejects, counts.duplicates) == (4, 2, 1)
        assert sorted(line[:3] for line in rejected()) == [
            ["4", "external_id", "A"],
            ["7", "external_id", "C"],
        ]

    def test_is_one_beside_a_job_that_was_added_alone(
        self, engine: Engine, run: Run, written: Written, rejected: Rejected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A job added over the API has no line."""
        monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", 1)
        added = False

        def add(_: object) -> None:
            nonlocal added
            if not added:
                with engine.begin() as connection:
                    added = bool(
                        connection.execute(
                            text(f"""
                                INSERT INTO jobs (batch_id, external_id, source, virtual_start, queue_state)
                                SELECT id, 'Z', '{WEB}/z.jpg', 0, 'ready' FROM batches
                            """)  # noqa: S608 - a constant
                        ).rowcount
                    )

        path = written(
            f"external_id,source\nA,{WEB}/a.jpg\nB,{WEB}/b.jpg\nC,{WEB}/c.jpg\nZ,{WEB}/other.jpg\n"
        )
        monkeypatch.setattr("cutout.ingest.ingest_run.Ingest._report", lambda self, _: add(self))
        assert run(path).counts.rejects == 1
        assert "a job of the batch names one and line 5 another" in rejected()[0][3]


class TestARowThatWasRejected:
    def test_gets_no_cutout_of_another_row(
        self, run: Run, written: Written, succeeded: Callable[[], None], given_back: Any
    ) -> None:
        """Nor does a row whose file differs from the ingested one."""
        done = run(written(f"external_id,source,n\nA,{WEB}/a.jpg,1\nA,ftp://x/a.jpg,2\nA,{WEB}/b.jpg,3\n"))
        succeeded()
        assert given_back(done.batch_id) == [
            ["succeeded", f"of {WEB}/a.jpg"],
            ["rejected", ""],
            ["rejected", ""],
        ]


class TestAnArchiveWithANameTwice:
    def test_takes_the_first(self, run: Run, stored: Stored, rejected: Rejected, tmp_path: Path) -> None:
        """The second one is a reject: which of them is meant is unknown."""
        import warnings  # noqa: PLC0415
        import zipfile  # noqa: PLC0415

        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            archive.writestr("a.jpg", b"one")
            archive.writestr("a.jpg", b"two")
        assert run(tmp_path / "z.zip").counts.jobs == 1
        assert len(stored()) == 1
        assert "is the name of two files of the archive" in rejected()[0][3]
