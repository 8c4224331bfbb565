import codecs
import csv
import gzip
import io
import json
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.enums import OutputState, ReturnForm
from cutout.manifests import Manifest, ManifestError, Record, open_manifest
from cutout.models import Ingest
from cutout.queue.attempts.outcomes import Fail, StoredObject, Succeeded
from cutout.results import (
    CutoutLinks,
    NoManifestError,
    WrittenRows,
    find_manifest,
    round_trip,
    write_as_input,
)
from cutout.results.writers import make_writer
from cutout.storage import Bucket
from tests.support.fates import DONE, Fates, make_batch
from tests.support.outputs import put_output, put_score, without_outputs

EXPORTS = Path(__file__).parent.parent / "manifests" / "exports"
OTHER = Succeeded(StoredObject("cutouts/b.png", b"\xcd" * 32, "image/png", 1, 30, 40))
ADDED = [
    "cutout_state", "cutout_key", "cutout_sha256", "cutout_width", "cutout_height", "cutout_error",
    "cutout_request_id", "cutout_reused", "cutout_score",
]  # fmt: skip
WHITE = ReturnForm.WHITE_BACKGROUND


class Catalog:
    """Batches made from a manifest, and the file written back."""

    def __init__(self, engine: Engine, bucket: Bucket) -> None:
        self.engine, self.bucket = engine, bucket
        self.tally = WrittenRows()

    def back(
        self,
        manifest: bytes,
        fates: Fates,
        *,
        links: CutoutLinks | None = None,
        outputs: Iterable[Callable[[Engine], None]] = (),
        image_column: str | None = None,
        **options: Any,
    ) -> bytes:
        batch_id = make_batch(self.engine, fates)
        without_outputs(self.engine)
        for put in outputs:
            put(self.engine)
        key = f"manifests/{batch_id}"
        self.bucket.put_pieces([manifest], key=key, media_type="text/plain")
        with Session(self.engine) as session, session.begin():
            columns = {"fingerprint": batch_id.bytes, "kind": "k", "manifest_key": key, "options": options}
            session.add(Ingest(batch_id=batch_id, **columns))
        with Session(self.engine) as session:
            kept = find_manifest(session, batch_id)
        self.tally = WrittenRows()
        return b"".join(
            write_as_input(self.engine, self.bucket, kept, links, self.tally, image_column=image_column)
        )


@pytest.fixture
def catalog(engine: Engine, bucket: Bucket) -> Catalog:
    return Catalog(engine, bucket)


def rows_of(file: bytes, encoding: str = "utf-8", delimiter: str = ",") -> list[dict[str, str]]:
    text = io.StringIO(file.decode(encoding), newline="")
    return list(csv.DictReader(text, delimiter=delimiter, strict=True))


class TestAPlainManifest:
    def test_comes_back_with_columns_added(self, catalog: Catalog) -> None:
        """Original cells stay unchanged, formulas included; the added columns come after them."""
        manifest = b'external_id,source,price\na,https://x/a.jpg,=1+1\nb,https://x/b.jpg,"1,5"\n'
        good, bad = rows_of(catalog.back(manifest, {"a": DONE, "b": Fail("=BROKEN", "cut off")}))
        assert list(good) == ["external_id", "source", "price", *ADDED]
        assert (good["external_id"], good["price"], bad["price"]) == ("a", "=1+1", "1,5")
        assert (good["cutout_state"], good["cutout_key"]) == ("succeeded", "cutouts/a.png")
        assert (good["cutout_sha256"], good["cutout_width"], good["cutout_height"]) == ("ab" * 32, "10", "20")
        assert (good["cutout_error"], good["cutout_reused"]) == ("", "false")
        assert (bad["cutout_state"], bad["cutout_error"]) == ("failed", "'=BROKEN: cut off")
        assert catalog.tally.rows == {"succeeded": 1, "failed": 1}

    def test_keeps_its_encoding_and_delimiter(self, catalog: Catalog) -> None:
        """A file saved by Excel opens in Excel: byte order mark, semicolons, or Latin-1 if requested."""
        manifest = "external_id;source;nom\na;https://x/a.jpg;été\n"
        marked = catalog.back(codecs.BOM_UTF8 + manifest.encode(), {"a": DONE})
        assert marked.startswith(codecs.BOM_UTF8 + b"external_id;source;nom;cutout_state;")
        assert rows_of(marked, "utf-8-sig", ";")[0]["nom"] == "été"
        fates: Fates = {"a": Fail("BROKEN", "half …")}
        latin = catalog.back(manifest.encode("latin-1"), fates, encoding="latin-1")
        assert rows_of(latin, "latin-1", ";")[0]["nom"] == "été"
        assert rows_of(latin, "latin-1", ";")[0]["cutout_error"] == "BROKEN: half ?"
        wide = catalog.back(manifest.replace(";", "\t").encode("utf-16"), {"a": DONE})
        assert rows_of(wide, "utf-16", "\t")[0]["cutout_key"] == "cutouts/a.png"

    def test_may_have_been_gzipped(self, catalog: Catalog) -> None:
        """A gzipped manifest is written back unpacked."""
        manifest = gzip.compress(b"external_id,source\na,https://x/a.jpg\n")
        assert rows_of(catalog.back(manifest, {"a": DONE}))[0]["cutout_state"] == "succeeded"

    def test_is_read_by_the_mapping_that_it_went_in_with(self, catalog: Catalog) -> None:
        """Columns with other names are found by the mapping of the ingest."""
        manifest = b"SKU,Photo\na,https://x/a.jpg\n"
        columns = {"external_id": "SKU", "source": "Photo"}
        assert rows_of(catalog.back(manifest, {"a": DONE}, columns=columns))[0]["cutout_width"] == "10"

    def test_of_several_forms_has_their_values_in_order(self, catalog: Catalog) -> None:
        """Values are joined by blanks in the requested order; a missing one keeps its position."""
        manifest = b"external_id,source,return_form\na,https://x/a.jpg,\nb,https://x/b.jpg,mask\n"
        fates: Fates = {("a", WHITE): OTHER, ("a", ReturnForm.RGBA): DONE, ("b", ReturnForm.MASK): OTHER}
        both, one = rows_of(catalog.back(manifest, fates, forms=["rgba", "whiteBK"]))
        assert both["cutout_key"] == "cutouts/a.png cutouts/b.png"
        assert (both["cutout_state"], both["cutout_width"]) == ("succeeded succeeded", "10 30")
        assert one["cutout_key"] == "cutouts/b.png"
        fates = {
            ("a", WHITE): OTHER,
            ("a", ReturnForm.RGBA): Fail("BROKEN", "m"),
            ("b", ReturnForm.MASK): OTHER,
        }
        both, _ = rows_of(catalog.back(manifest, fates))
        assert (both["cutout_key"], both["cutout_error"]) == (" cutouts/b.png", "BROKEN: m")
        assert catalog.tally.rows == {"failed": 1, "succeeded": 1}

    def test_says_what_made_no_job(self, catalog: Catalog) -> None:
        """A rejected row has the reason; one too short or too long keeps its cells."""
        manifest = b"external_id,source,x\n,https://x/a.jpg,1\nb,https://x/b.jpg,2\nshort\na,b,c,d\n"
        file = catalog.back(manifest, {})
        empty, unknown, short = rows_of(file)[:3]
        assert (empty["cutout_state"], empty["x"]) == ("rejected", "1")
        assert empty["cutout_error"] == "external_id is empty; give each picture its own id"
        assert (unknown["cutout_state"], unknown["cutout_error"]) == (
            "rejected",
            "it has no job; the batch's rejects may say why",
        )
        assert (short["external_id"], short["source"], short["cutout_state"]) == ("short", "", "rejected")
        assert file.splitlines()[-1] == b"a,b,c,d"
        assert catalog.tally.rows == {"rejected": 4}

    def test_that_went_through_before_has_our_columns_once(self, catalog: Catalog) -> None:
        """Added columns of an earlier output are replaced, so the file can go round any number of times."""
        once = catalog.back(b"external_id,source,z\na,https://x/a.jpg,1\n", {"a": Fail("BROKEN", "m")})
        again = catalog.back(once, {"a": DONE})
        (row,) = rows_of(again)
        assert list(row) == ["external_id", "source", "z", *ADDED]
        assert (row["z"], row["cutout_state"], row["cutout_error"]) == ("1", "succeeded", "")

    def test_has_links_if_asked(self, catalog: Catalog, bucket: Bucket) -> None:
        """Each cutout has one link."""
        links = CutoutLinks(bucket)
        manifest = b"external_id,source\na,https://x/a.jpg\nb,https://x/b.jpg\n"
        good, waiting = rows_of(catalog.back(manifest, {"a": DONE, "b": None}, links=links))
        assert (good["cutout_url"], waiting["cutout_url"]) == (links.to("cutouts/a.png"), "")

    def test_is_read_in_chunks(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        """Jobs are read some records at a time, each row with its own job."""
        monkeypatch.setattr(round_trip, "RECORDS_A_CHUNK", 3)
        names = [f"n{n}" for n in range(10)]
        manifest = "external_id,source\n" + "".join(f"{name},https://x/a.jpg\n" for name in names)
        fates: Fates = {name: Fail("BROKEN", name) for name in names}
        rows = rows_of(catalog.back(manifest.encode(), fates))
        assert [row["cutout_error"] for row in rows] == [f"BROKEN: {name}" for name in names]


class TestOutputs:
    def test_of_a_picture_are_columns_beside_its_score(self, catalog: Catalog, bucket: Bucket) -> None:
        """Key, link and problems of each rendition; columns of an earlier output are replaced."""
        manifest = b"external_id,source,cutout_old_key,cutout_score\na,https://x/a.jpg,k,0.9\n"
        links = CutoutLinks(bucket)
        (row,) = rows_of(
            catalog.back(
                manifest,
                {"a": DONE},
                links=links,
                outputs=[
                    lambda engine: put_score(engine, "a", 0.5),
                    lambda engine: put_output(engine, "a", "web", OutputState.MADE, problems=["=grey"]),
                ],
            )
        )
        assert list(row)[-4:] == ["cutout_score", "cutout_web_key", "cutout_web_url", "cutout_web_problems"]
        assert (row["cutout_key"], row["cutout_score"]) == ("cutouts/a.png", "0.5")
        assert (row["cutout_web_key"], row["cutout_web_problems"]) == ("cutouts/full.png", "'=grey")
        assert row["cutout_web_url"] == links.to("cutouts/full.png", "image/png")
        assert "cutout_old_key" not in row

    def test_that_failed_say_so_where_the_picture_is_missing(self, catalog: Catalog) -> None:
        """The job succeeded, and its key is empty: the reason is in the error."""
        manifest = b"external_id,source\na,https://x/a.jpg\n"
        failed = [lambda engine: put_output(engine, "a", "rgba", OutputState.FAILED, code="X", message="m")]
        (row,) = rows_of(catalog.back(manifest, {"a": DONE}, outputs=failed))
        assert (row["cutout_state"], row["cutout_key"]) == ("succeeded", "")
        assert row["cutout_error"] == "output rgba: X: m"

    @pytest.mark.parametrize("name", ["rgba", "web"])
    def test_may_take_the_place_of_the_picture_in_any_format(
        self, catalog: Catalog, bucket: Bucket, name: str
    ) -> None:
        """NDJSON, and a cell with several addresses; the id, although it is the address, stays."""
        links = CutoutLinks(bucket)
        options: dict[str, Any] = {"links": links, "image_column": name}
        put = [
            lambda engine: put_output(engine, "https://x/a.jpg", "web", OutputState.MADE, key="cutouts/a.png")
        ]
        ndjson = b'{"external_id": "https://x/a.jpg", "source": "https://x/a.jpg"}\n'
        line = json.loads(catalog.back(ndjson, {"https://x/a.jpg": DONE}, outputs=put, **options))
        assert (line["external_id"], line["source"]) == (
            "https://x/a.jpg",
            links.to("cutouts/a.png", "image/png"),
        )


class TestAKnownExport:
    @pytest.mark.parametrize("name", ["shopify_products_export.csv", "shopify_products_2025.csv"])
    def test_of_shopify_goes_back_in(self, catalog: Catalog, name: str) -> None:
        """Every column and cell of the export is there, and it is still read as such an export."""
        export = (EXPORTS / name).read_bytes()
        pictures = [picture for record in read(export) for picture in record.pictures]
        file = catalog.back(export, {picture.external_id: DONE for picture in pictures})
        before, after = rows_of(export, "utf-8-sig"), rows_of(file, "utf-8-sig")
        assert [dict(list(row.items())[: len(before[0])]) for row in after] == before
        assert [picture for record in read(file) for picture in record.pictures] == pictures
        assert any("succeeded" in row["cutout_state"] for row in after)

    def test_of_shopify_can_have_a_rendition_as_its_pictures(self, catalog: Catalog, bucket: Bucket) -> None:
        """All columns of pictures have links, to be imported; what is not made keeps its address."""
        export = (
            b"Handle,Title,Variant SKU,Image Src,Image Position,Variant Image\n"
            b"fern,Fern,F-G,https://x/1.jpg,1,https://x/1.jpg\n"
            b"fern,,F-B,https://x/2.jpg,2,https://x/2.jpg\n"
            b"fern,,F-R,,,https://x/1.jpg\n"
        )
        links = CutoutLinks(bucket)
        file = catalog.back(
            export,
            {"fern/1": DONE, "fern/2": DONE},
            links=links,
            outputs=[
                lambda engine: put_output(engine, "fern/1", "amazon", OutputState.MADE, key="a.jpg"),
                lambda engine: put_output(engine, "fern/2", "amazon"),
            ],
            image_column="amazon",
        )
        link = links.to("a.jpg", "image/png")
        assert [(row["Image Src"], row["Variant Image"]) for row in rows_of(file)] == [
            (link, link),
            ("https://x/2.jpg", "https://x/2.jpg"),
            ("", link),
        ]
        assert (catalog.tally.links, catalog.tally.kept, catalog.tally.waiting_outputs) == (1, 1, 1)
        assert [row["Title"] for row in rows_of(file)] == ["Fern", "", ""]

    @pytest.mark.parametrize("name", ["google_feed.xml", "google_feed_atom.xml"])
    def test_in_xml_comes_back_as_csv(self, catalog: Catalog, name: str) -> None:
        """The file has the ids of items and pictures: a feed that is read again names the same pictures."""
        feed = (EXPORTS / name).read_bytes()
        pictures = [picture for record in read(feed) for picture in record.pictures]
        file = catalog.back(feed, {picture.external_id: DONE for picture in pictures})
        rows = rows_of(file)
        assert list(rows[0])[:4] == ["id", "image_link", "additional_image_link", "cutout_state"]
        assert [picture for record in read(file) for picture in record.pictures] == pictures

    def test_in_ndjson_has_keys_added(self, catalog: Catalog) -> None:
        """Objects keep their keys and types; a line that is no object stays unchanged."""
        manifest = b'{"external_id": "a", "source": "https://x/a.jpg", "price": 1.5, "n": null}\nno object\n'
        first, second = catalog.back(manifest, {"a": DONE}).decode().splitlines()
        found = json.loads(first)
        assert list(found) == ["external_id", "source", "price", "n", *ADDED]
        assert (found["price"], found["n"], found["cutout_width"]) == (1.5, None, "10")
        assert (found["cutout_error"], second) == (None, "no object")


def read(file: bytes) -> Manifest:
    return open_manifest(io.BytesIO(file), name="m")


class TestWhatIsWritten:
    @given(
        st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=3, max_size=3), min_size=1),
        st.sampled_from([",", ";", "\t", "|"]),
    )
    def test_has_the_cells_that_came_in(self, cells: list[list[str]], delimiter: str) -> None:
        """Any original cells are unchanged, and the added ones are no formulas."""
        manifest = Manifest("CSV manifest", "utf-8", iter(()), ("a", "b", "c"), delimiter)
        writer, head = make_writer(manifest, {}, ["cutout_state"])
        records = [(Record(1, tuple(row), (), ()), ["=x"]) for row in cells]
        text = io.StringIO((head + writer.records(records)).decode(), newline="")
        header, *rows = csv.reader(text, delimiter=delimiter, strict=True)
        assert header == ["a", "b", "c", "cutout_state"]
        assert rows == [[*row, "'=x"] for row in cells]

    def test_of_numbers_and_letters_that_json_lacks_is_json(self) -> None:
        """Infinity becomes null, a lone surrogate is escaped."""
        manifest = Manifest("NDJSON manifest", "utf-8", iter(()))
        writer, _ = make_writer(manifest, {}, ["cutout_state"])
        cells = {"n": float("inf"), "half": "\ud800"}
        found = json.loads(writer.records([(Record(1, cells, (), ()), ["rejected"])]))
        assert found == {"n": None, "half": "\ud800", "cutout_state": "rejected"}


class TestABatchWithoutItsManifest:
    def test_says_so(self, catalog: Catalog) -> None:
        """A batch of single jobs and an ingest that kept nothing have no manifest to write back."""
        batch_id = make_batch(catalog.engine, {"a": DONE})
        with Session(catalog.engine) as session:
            with pytest.raises(NoManifestError, match=f"the batch {batch_id} was not made from a manifest"):
                find_manifest(session, batch_id)
            session.add(Ingest(batch_id=batch_id, fingerprint=b"x", kind="directory"))
            session.flush()
            with pytest.raises(NoManifestError):
                find_manifest(session, uuid.UUID(str(batch_id)))

    def test_that_cannot_be_read_further_breaks_off(self, catalog: Catalog) -> None:
        """The reader's own message says where."""
        with pytest.raises(ManifestError, match="quote that opens in line 3"):
            catalog.back(b'external_id,source\na,b\n"c,d\ne,f\n', {})
