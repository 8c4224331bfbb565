"""Numbered ids: several pictures of one product get ids of their own, the same after any interruption."""

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from cutout.ingest import Ingest, IngestError, IngestOptions, ReadOptions, RejectsFile, estimate, open_source
from cutout.ingest import chunks as ingest_chunks
from cutout.models import Job
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run
from tests.cutout.ingest.test_id_conflicts import Rejected, Stored, Written, given_back, succeeded

__all__ = ["given_back", "succeeded"]

WEB = "https://x.example"
MANY = ReadOptions(many=True)


def ids(jobs: list[Job]) -> dict[str, str | None]:
    return {job.source.removeprefix(f"{WEB}/"): job.external_id for job in jobs}


class TestMany:
    def test_numbers_the_pictures_of_an_id_by_their_addresses(
        self, run: Run, written: Written, stored: Stored
    ) -> None:
        """In any order of rows; a repeated row is one picture."""
        rows = [f"A,{WEB}/{name}.jpg" for name in ("c", "a", "b", "c")] + [f"B,{WEB}/z.jpg"]
        counts = run(written("\n".join(["external_id,source", *rows])), reading=MANY).counts
        assert (counts.jobs, counts.rejects, counts.duplicates) == (4, 0, 1)
        assert ids(stored()) == {"a.jpg": "A", "b.jpg": "A-2", "c.jpg": "A-3", "z.jpg": "B"}

    @pytest.mark.parametrize("name", ["position", "Image Position"])
    def test_numbers_by_the_position_where_there_is_one(
        self, run: Run, written: Written, stored: Stored, name: str
    ) -> None:
        """Positions are numbers; those without one come last, equal ones go by URL."""
        rows = [("a", 10), ("b", 9), ("c", ""), ("d", 9), ("e", "1.0")]
        text = f"external_id,source,{name}\n" + "".join(f"A,{WEB}/{n},{at}\n" for n, at in rows)
        assert run(written(text), reading=MANY).counts.jobs == 5
        assert ids(stored()) == {"e": "A", "b": "A-2", "d": "A-3", "a": "A-4", "c": "A-5"}

    def test_reads_the_mapped_position(self, run: Run, written: Written, stored: Stored) -> None:
        """In NDJSON too; a position that is no number is a reject."""
        text = "".join(
            f'{{"external_id": "A", "source": "{WEB}/{name}", "order": {at}}}\n'
            for name, at in (("a", 2), ("b", 1), ("c", '"first"'))
        )
        assert run(written(text), reading=ReadOptions({"position": "order"}, many=True)).counts.rejects == 1
        assert ids(stored()) == {"b": "A", "a": "A-2"}

    def test_rejects_both_rows_where_a_generated_id_equals_another(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also if the row with this id came first, several chunks before."""
        monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", 2)
        rows = ["A-2,own", "B,x", "C,y", "D,z", "A,first", "A,second"]
        text = "external_id,source\n" + "".join(f"{row.replace(',', f',{WEB}/')}\n" for row in rows)
        assert run(written(text), reading=MANY).counts.rejects == 2
        assert set(ids(stored())) == {"x", "y", "z", "first"}
        assert [line[:3] for line in rejected()] == [["2", "external_id", "A-2"], ["7", "external_id", "A-2"]]
        assert all("lines 2 and 7 name both" in line[3] for line in rejected())

    @pytest.mark.parametrize(("generated", "own"), [("", "rgba"), ("rgba", ""), ("mask", "")])
    def test_rejects_both_rows_where_one_has_no_form_of_its_own(
        self, run: Run, written: Written, rejected: Rejected, generated: str, own: str
    ) -> None:
        """A row without a form has the batch's, which may be that of the other row."""
        rows = [f"A,{WEB}/a,{generated}", f"A,{WEB}/b,{generated}", f"A-2,{WEB}/own,{own}"]
        counts = run(written("\n".join(["external_id,source,return_form", *rows])), reading=MANY).counts
        assert (counts.jobs, counts.rejects) == (1, 2)
        assert [line[:3] for line in rejected()] == [["3", "external_id", "A-2"], ["4", "external_id", "A-2"]]

    def test_takes_two_rows_of_an_id_in_different_forms(self, run: Run, written: Written) -> None:
        """A generated id of one form, and another row's of another."""
        rows = [f"A,{WEB}/a,mask", f"A,{WEB}/b,mask", f"A-2,{WEB}/own,rgba"]
        assert (
            run(written("\n".join(["external_id,source,return_form", *rows])), reading=MANY).counts.jobs == 3
        )

    def test_rejects_an_id_that_becomes_too_long(self, run: Run, written: Written, stored: Stored) -> None:
        """With its number it would have 257 characters."""
        text = "external_id,source\n" + "".join(f"{'x' * 255},{WEB}/{name}\n" for name in "ab")
        assert run(written(text), reading=MANY).counts.rejects == 1
        assert set(ids(stored())) == {"a"}

    def test_is_the_same_after_an_interruption(  # noqa: PLR0917 - fixtures
        self,
        engine: Engine,
        bucket: Bucket,
        settings: Settings,
        run: Run,
        written: Written,
        stored: Stored,
        rejects: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Every row is stored once, under the id that an uninterrupted run gives it."""
        monkeypatch.setattr(ingest_chunks, "MOST_RECORDS", 7)
        rows = [f"{n % 9},{WEB}/{n:03}" for n in range(60)]
        random.Random(3).shuffle(rows)  # noqa: S311 - an order, not a secret
        path = written("\n".join(["external_id,source", *rows]))
        expected = {f"{n:03}": str(n % 9) + (f"-{n // 9 + 1}" if n >= 9 else "") for n in range(60)}
        for chunks in (1, 3):
            left = iter(range(chunks))

            def stop(_: object, left: Any = left) -> None:
                if next(left, None) is None:
                    raise InterruptedError

            source = open_source(str(path), MANY, settings, bucket)
            ingest_options = IngestOptions("test", reading=MANY)
            with closing(source), RejectsFile(rejects) as file, pytest.raises(InterruptedError):
                Ingest(engine, bucket, source, ingest_options, file).run(
                    on_resume=lambda *_: None, watch=stop
                )
        assert 0 < len(stored()) < 60
        assert run(path, reading=MANY).counts.jobs == 60
        assert ids(stored()) == expected
        assert len({job.batch_id for job in stored()}) == 1

    def test_comes_back_under_the_same_ids(
        self, run: Run, written: Written, succeeded: Callable[[], None], given_back: Any
    ) -> None:
        """Each row has its own cutout."""
        done = run(written(f"external_id,source\nA,{WEB}/b\nA,{WEB}/a\nA,{WEB}/b\n"), reading=MANY)
        succeeded()
        assert given_back(done.batch_id) == [["succeeded", f"of {WEB}/{name}"] for name in "bab"]

    def test_is_priced_by_a_dry_run(
        self, engine: Engine, bucket: Bucket, settings: Settings, written: Written
    ) -> None:
        """Three pictures make three calls."""
        path = written("external_id,source\n" + "".join(f"A,{WEB}/{name}\n" for name in "cab"))
        with closing(open_source(str(path), MANY, settings, bucket)) as source:
            options = IngestOptions("n", reading=MANY)
            found = estimate(
                engine, bucket, source, options, None, on_reject=lambda _: None, watch=lambda _: None
            )
        assert (found.counts.jobs, found.calls) == (3, 3)

    def test_is_for_manifests_only(self, run: Run, tmp_path: Path) -> None:
        """A directory has no ids to number."""
        (tmp_path / "d").mkdir()
        with pytest.raises(IngestError, match="is no manifest, and --many is for manifests"):
            run(tmp_path / "d", reading=MANY)


class TestACellOfSeveralAddresses:
    @pytest.mark.parametrize("between", [", ", ",", "|", ";", " ", "\n", " | "])
    def test_is_several_pictures(self, run: Run, written: Written, stored: Stored, between: str) -> None:
        """As WooCommerce, Magento and others write it; a comma inside a URL is part of it."""
        cell = between.join(f"{WEB}/{name}" for name in ("w_8,q_5/c.jpg", "a.jpg?x=1;y=2", "b|b.jpg"))
        run(
            written(f'SKU,Images\nA,"{cell}"\n'),
            reading=ReadOptions({"external_id": "SKU", "source": "Images"}),
        )
        assert ids(stored()) == {"a.jpg?x=1;y=2": "A", "b|b.jpg": "A-2", "w_8,q_5/c.jpg": "A-3"}

    def test_rejects_both_rows_where_a_generated_id_equals_another(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected
    ) -> None:
        """Also without --many."""
        text = f'external_id,source\nA-2,{WEB}/own\nA,"{WEB}/a,{WEB}/b"\n'
        assert run(written(text)).counts.jobs == 1
        assert set(ids(stored())) == {"a"}
        assert [line[0] for line in rejected()] == ["2", "3"]

    def test_rejects_its_row_where_one_of_them_cannot_work(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected
    ) -> None:
        """Only this URL is rejected; the others are stored."""
        run(written(f'external_id,source\nA,"{WEB}/a,http://x.example/b"\n'))
        assert set(ids(stored())) == {"a"}
        assert rejected()[0][2] == "http://x.example/b"


class TestAnExportOfProducts:
    def test_rejects_both_pictures_of_one_position(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected
    ) -> None:
        """Shopify's ids are made of the handle and the position."""
        rows = f"boot,{WEB}/a,1\nboot,{WEB}/b,1\nboot,{WEB}/c,2\n"
        assert run(written(f"Handle,Image Src,Image Position\n{rows}")).counts.rejects == 2
        assert ids(stored()) == {"c": "boot/2"}
        assert [line[0] for line in rejected()] == ["2", "3"]

    def test_rejects_both_products_where_a_generated_id_is_another_s(
        self, run: Run, written: Written, stored: Stored, rejected: Rejected
    ) -> None:
        """An additional picture of one Google product, and another product with this id."""
        rows = f"A/2,{WEB}/own,\nA,{WEB}/a,{WEB}/b\n"
        run(written(f"id,image_link,additional_image_link\n{rows}"))
        assert ids(stored()) == {"a": "A"}
        assert [line[0] for line in rejected()] == ["2", "3"]
