import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from cutout.enums import Priority, ReturnForm
from cutout.ingest import IngestError, ReadOptions, StrictError
from cutout.manifests import ManifestError
from cutout.models import Ingest, Job
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import KEYS, Run
from tests.cutout.manifests.records import export

WEB = "https://shop.example/a.jpg"

Written = Callable[..., Path]
Stored = Callable[[], list[Job]]
Rejected = Callable[[], list[list[str]]]


class TestAManifest:
    def test_names_pictures_beside_it_and_in_the_web(
        self, run: Run, written: Written, bucket: Bucket, stored: Stored
    ) -> None:
        """A file beside it is uploaded and identified by its hash; a URL is stored unchanged."""
        rows = f"external_id,source,colour\nA,a.jpg,red\nB,{WEB},\nC,s3://{bucket.name}/c.jpg,\n"
        counts = run(written(rows)).counts
        local, web, ours = stored()
        assert (counts.records, counts.pictures, counts.jobs) == (3, 3, 3)
        assert local.source_sha256 is not None
        assert (
            local.source
            == f"s3://{bucket.name}/sources/{local.source.split('/')[-2]}/{local.source_sha256.hex()}"
        )
        assert (local.details, web.details) == ({"colour": "red"}, None)
        assert [web.source, ours.source] == [WEB, f"s3://{bucket.name}/c.jpg"]

    def test_may_choose_form_and_priority_by_row(self, run: Run, written: Written, stored: Stored) -> None:
        """A row's own form replaces those of the command line; an empty one does not."""
        rows = f"external_id,source,return_form,priority\na,{WEB},crop,bulk\nb,{WEB},,\n"
        forms = (ReturnForm.MASK, ReturnForm.RGBA)
        assert run(written(rows), forms=forms, priority=Priority.INTERACTIVE).counts.pictures == 3
        assert [(job.external_id, job.return_form, job.priority) for job in stored()] == [
            ("a", "crop", Priority.BULK),
            ("b", "mask", Priority.INTERACTIVE),
            ("b", "rgba", Priority.INTERACTIVE),
        ]

    def test_may_name_keys_of_the_bucket(
        self, run: Run, written: Written, bucket: Bucket, stored: Stored
    ) -> None:
        """With `keys` a bare name is not a file; a URL remains one."""
        run(written(f"external_id,source\na,drop/a b.jpg\nb,{WEB}\n"), reading=KEYS)
        assert [job.source for job in stored()] == [f"s3://{bucket.name}/drop/a b.jpg", WEB]

    def test_may_have_any_characters(self, run: Run, written: Written, stored: Stored) -> None:
        """Backslashes, quotes and letters of all scripts are stored unchanged, in ids and metadata."""
        name = 'a\\b\\N "é" 猫'
        quoted = name.replace('"', '""')
        run(written(f'external_id,source,note\n"{quoted}",{WEB},"\\t\\\\ two\nlines"\n'))
        (job,) = stored()
        assert (job.external_id, job.details) == (name, {"note": "\\t\\\\ two\nlines"})

    def test_is_kept_with_how_it_was_read(
        self, run: Run, written: Written, bucket: Bucket, engine: Engine
    ) -> None:
        """Its bytes are in the bucket and its options in the ingest, for writing the results back into it."""
        content = f"SKU;Bild\nä;{WEB}\n".encode("latin-1")
        reading = ReadOptions({"external_id": "SKU", "source": "Bild"}, "latin-1")
        batch_id = run(written(content), reading=reading).batch_id
        with Session(engine) as session:
            ingest = session.scalars(select(Ingest)).one()
        assert ingest.manifest_key == f"manifests/{batch_id}"
        assert bucket.read(ingest.manifest_key, max_bytes=100) == content
        assert ingest.kind == "CSV manifest"
        assert ingest.options["encoding"] == "latin-1"
        assert ingest.options["columns"] == {"external_id": "SKU", "source": "Bild"}
        assert ingest.finished_at is not None


class TestARow:
    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("bad,,,", "is empty"),
            ("bad,none.jpg,,", "is no file in"),
            ("bad,.,,", "is no regular file"),
            ("bad,../outside.jpg,,", "points outside"),
            ("bad,/etc/hostname,,", "points outside"),
            ("bad,s3://other/a.jpg,,", "names the bucket 'other'"),
            ("bad,pipe.jpg,,", "is no regular file"),
            (f"bad,{'x' * 2000},,", "cannot be a file name"),
            ("bad,http://shop.example/a,,", "not https"),
            (f"{'x' * 256},{WEB},,", "has 256 characters"),
            (f'"b\nd",{WEB},,', "control character U\\+000A"),
            (f"bad,{WEB},svg,", "is not one of rgba, mask"),
            (f"bad,{WEB},,urgent", "is not one of interactive"),
            (f"bad\0,{WEB},,", "has a NUL byte"),
        ],
    )
    def test_that_cannot_become_a_job_is_rejected_alone(  # noqa: PLR0917 - fixtures
        self, run: Run, written: Written, stored: Stored, rejected: Rejected, row: str, said: str
    ) -> None:
        """The reason names the remedy, and the rows around it are ingested."""
        path = written(f"external_id,source,return_form,priority\nfirst,{WEB},,\n{row}\nlast,{WEB},,\n")
        (path.parent.parent / "outside.jpg").write_bytes(b"x")
        os.mkfifo(path.parent / "pipe.jpg")
        counts = run(path).counts
        assert [job.external_id for job in stored()] == ["first", "last"]
        ((line, *_, reason),) = rejected()
        assert line == "3"
        assert pytest.raises(ValueError, match=said).matches(ValueError(reason))
        assert (counts.pictures, counts.jobs, counts.rejects) == (3, 2, 1)

    def test_with_several_faults_is_one_picture(self, run: Run, written: Written, rejected: Rejected) -> None:
        """Each fault has its line among the rejects, and the row counts once."""
        counts = run(written(f"external_id,source,note\n,,x\nb,{WEB},\n")).counts
        assert len(rejected()) == 2
        assert (counts.records, counts.pictures, counts.rejects) == (2, 2, 1)

    def test_that_repeats_another_is_a_duplicate(self, run: Run, written: Written, stored: Stored) -> None:
        """The first row is stored; in another form it is another job."""
        rows = f"external_id,source,return_form\na,{WEB},\na,{WEB},\na,{WEB},mask\n"
        counts = run(written(rows)).counts
        assert (counts.pictures, counts.jobs, counts.duplicates) == (3, 2, 1)
        assert [(job.source, job.return_form) for job in stored()] == [(WEB, "rgba"), (WEB, "mask")]

    def test_stops_a_strict_ingest(self, run: Run, written: Written, stored: Stored) -> None:
        """Nothing of the chunk is stored, and the error names the line."""
        with pytest.raises(StrictError, match=r"line 3, source: 'none.jpg' is no file"):
            run(written(f"external_id,source\na,{WEB}\nb,none.jpg\n"), strict=True)
        assert stored() == []


class TestWhatCannotBeRead:
    def test_with_only_a_header_makes_no_batch(self, run: Run, written: Written) -> None:
        """The error tells that there are no rows."""
        with pytest.raises(IngestError, match="has no rows below its first line"):
            run(written("external_id,source\n\n"))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"sku,source\na,b\n", "has no column 'external_id'"),
            (b"\0" * 5000, "looks like UTF-16 without its byte order mark"),
            (b"external_id,source\ncaf\xe9,b\n", "byte 0xE9 in line 2.*--encoding latin-1"),
            (b'external_id,source\na,"b\n', "the quote that opens in line 2 is not closed"),
        ],
    )
    def test_names_the_place_and_the_remedy(
        self, run: Run, written: Written, stored: Stored, content: bytes, said: str
    ) -> None:
        """It is one error, and a file that ends within its first chunk leaves no batch."""
        with pytest.raises(ManifestError, match=said):
            run(written(content))
        assert stored() == []

    @pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
    def test_that_may_have_no_end_is_refused(self, run: Run, tmp_path: Path, name: str) -> None:
        """A device or pipe is not opened."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(IngestError, match="is a pipe or a device; save it to a file"):
            run(tmp_path / name)

    @pytest.mark.parametrize("name", ["nothing-here", "x" * 300, "nul\0"])
    def test_that_is_not_there_is_named(self, run: Run, tmp_path: Path, name: str) -> None:
        """Whatever the system's reason against the name."""
        with pytest.raises(IngestError, match=r"is neither a directory nor a file|cannot be read"):
            run(tmp_path / name)


class TestAnExport:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("catalog.ndjson", "NDJSON manifest"),
            ("excel_macintosh.csv", "CSV manifest"),
            ("excel_semicolons.csv", "CSV manifest"),
            ("excel_unicode_text.txt", "TSV manifest"),
            ("google_feed.tsv", "Google Merchant feed"),
            ("google_feed.xml", "Google Merchant feed"),
            ("google_feed_atom.xml", "Google Merchant feed"),
            ("shopify_products_2025.csv", "Shopify product export"),
            ("shopify_products_export.csv", "Shopify product export"),
        ],
    )
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
    def test_of_a_known_kind_becomes_a_batch(
        self, run: Run, written: Written, engine: Engine, name: str, kind: str, *, packed: bool
    ) -> None:
        """With its peculiarities, gzipped or not; the counts add up, and each job is in the database."""
        content = export(name)
        encoding = "mac-roman" if "macintosh" in name else None
        path = written(gzip.compress(content) if packed else content, name)
        counts = run(path, reading=ReadOptions(encoding=encoding, keys=True)).counts
        assert counts.jobs > 0
        assert counts.pictures == counts.jobs + counts.rejects + counts.duplicates
        with Session(engine) as session:
            assert session.scalars(select(Ingest.kind)).one() == kind
            assert session.scalar(select(func.count()).select_from(Job)) == counts.jobs
