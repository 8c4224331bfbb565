import io
import time
from typing import ClassVar

import pytest

from cutout.enums import Priority, ReturnForm
from cutout.manifests import ManifestError, Picture, open_manifest
from cutout.manifests.delimited import read_delimiter
from tests.cutout.manifests.records import export, named, opened, pictures, read, rejects
from tests.support.machine import scaled


class TestAPlainManifest:
    def test_gives_a_picture_a_row(self) -> None:
        """The four known columns may be in any order; every other cell that is not empty is metadata."""
        text = "colour,priority,source,external_id,return_form,size\nred,bulk,a.jpg,A,crop,\n"
        assert pictures(read(text)) == [
            Picture("A", "a.jpg", ReturnForm.CROP, Priority.BULK, {"colour": "red"})
        ]

    def test_keeps_the_row_as_it_was_written(self) -> None:
        """The cells and the header can be written back, with blanks."""
        manifest = opened(" external_id,source \nA , a.jpg\n")
        (record,) = manifest
        assert manifest.header == (" external_id", "source ")
        assert record.cells == ("A ", " a.jpg")
        assert named([record]) == [("A", "a.jpg")]

    def test_has_no_metadata_without_other_columns(self) -> None:
        """None, not an empty dictionary."""
        (picture,) = pictures(read("external_id,source\nA,a.jpg\n"))
        assert picture.metadata is None

    def test_rejects_each_value_that_is_at_fault(self) -> None:
        """The rejects of a row name all its faults."""
        records = read("external_id,source\n,\nA,\n,a.jpg\nB,b.jpg\n")
        assert [(reject.line, reject.column) for reject in rejects(records)] == [
            (3, "source"),
            (4, "external_id"),
        ]
        assert named(records) == [("B", "b.jpg")]

    def test_gives_ten_thousand_rejects_in_a_row(self) -> None:
        """The caller decides how many are too many."""
        assert len(rejects(read("external_id,source\n" + "A,\n" * 10_000))) == 10_000

    def test_wins_over_a_known_export(self) -> None:
        """A file with the plain columns and an export's is read by the plain ones."""
        manifest = opened("Handle,Image Src,external_id,source\nboot,b.jpg,A,a.jpg\n")
        assert manifest.kind == "CSV manifest"
        assert named(list(manifest)) == [("A", "a.jpg")]

    def test_wins_where_the_user_maps_the_columns(self) -> None:
        """A known export is read as the user maps it."""
        columns = {"external_id": "Variant SKU", "source": "Image Src"}
        found = named(read(export("shopify_products_export.csv"), columns=columns))
        assert found[0] == ("FERN-GR", "https://shop.example/cdn/files/fern-1.jpg?v=17")


class TestExcelFiles:
    def test_semicolons(self) -> None:
        """Its separator line, byte order mark, CRLF, empty columns, empty rows, commas in cells and doubled
        quotes.
        """
        manifest = opened(export("excel_semicolons.csv"))
        records = list(manifest)
        assert (manifest.kind, manifest.delimiter, manifest.encoding) == ("CSV manifest", ";", "utf-8-sig")
        assert named(records) == [
            ("SKU-1", "bilder/stiefel, links.jpg"),
            ("SKU-2", 'bilder/stiefel "rechts".jpg'),
        ]
        assert [record.line for record in records] == [3, 6]
        assert pictures(records)[0].metadata == {"Größe": "38½"}

    def test_unicode_text(self) -> None:
        """UTF-16 with tabs, whatever the file's name."""
        manifest = opened(export("excel_unicode_text.txt"))
        assert (manifest.kind, manifest.encoding) == ("TSV manifest", "utf-16")
        assert named(list(manifest)) == [("SKU-1", "https://shop.example/żuk.jpg")]

    def test_macintosh_lines(self) -> None:
        """A bare CR ends a line, and may be inside quotes."""
        records = read(export("excel_macintosh.csv"))
        assert [(record.line, record.pictures[0].external_id) for record in records] == [
            (2, "SKU-1"),
            (4, "SKU-2"),
        ]
        assert records[0].cells[2] == "two\rlines"  # type: ignore[index]


class TestAColumnOfTheShop:
    MAPPED: ClassVar = {"external_id": "SKU", "source": "Image"}

    def test_named_priority_is_the_shop_s_unless_mapped(self) -> None:
        """With mapped columns its words are metadata, even if one is a word of ours."""
        text = "SKU,Image,priority,state\nA,a.jpg,1,new\nB,b.jpg,High,\nC,c.jpg,bulk,\n"
        found = pictures(read(text, columns=self.MAPPED))
        assert [picture.priority for picture in found] == [None] * 3
        assert [(picture.metadata or {})["priority"] for picture in found] == ["1", "High", "bulk"]
        assert (found[0].metadata or {})["state"] == "new"
        mapped = read(text, columns={**self.MAPPED, "priority": "priority"})
        assert [len(record.pictures) for record in mapped] == [0, 0, 1]

    def test_may_be_mapped_to_nothing(self) -> None:
        """Also in a manifest in our own words, and in NDJSON."""
        columns = {"priority": ""}
        (picture,) = pictures(read("external_id,source,priority\nA,a.jpg,High\n", columns=columns))
        assert picture.metadata == {"priority": "High"}
        line = '{"external_id": "A", "source": "a.jpg", "priority": "High"}'
        assert pictures(read(line, columns=columns))[0].metadata == {"priority": "High"}

    def test_in_a_known_export_means_nothing_if_it_is_no_word_of_ours(self) -> None:
        """A feed's own priority is ignored; one that was added for us is used."""
        found = pictures(read("id,image_link,priority\nA,a.jpg,1\nB,b.jpg,bulk\n"))
        assert [picture.priority for picture in found] == [None, Priority.BULK]

    def test_of_woocommerce_marks_rows_without_a_picture(self) -> None:
        """A variation has its parent's picture; a product without one is a reject."""
        text = (
            "Type,SKU,Parent,Images\nvariable,A,,a.jpg\nvariation,A-1,A,\nvariation,A-2,A,b.jpg\nsimple,B,,\n"
        )
        records = read(text, columns={"external_id": "SKU", "source": "Images"})
        assert named(records) == [("A", "a.jpg"), ("A-2", "b.jpg")]
        assert [reject.line for reject in rejects(records)] == [5]

    def test_magento_variants_are_shown_with_their_product(self) -> None:
        """A row that is not shown by itself needs no picture; a product without one is a reject."""
        header = "sku,product_type,visibility,base_image\n"
        rows = (
            'A,configurable,"Catalog, Search",a.jpg\n'
            "A-S,simple,Not Visible Individually,\n"
            "A-M,simple,Not Visible Individually,no_selection\n"
            "A-L,simple,Not Visible Individually,l.jpg\n"
            'B,simple,"Catalog, Search",no_selection\n'
        )
        columns = {"external_id": "sku", "source": "base_image"}
        records = read(header + rows, columns=columns)
        assert named(records) == [("A", "a.jpg"), ("A-L", "l.jpg")]
        assert [reject.line for reject in rejects(records)] == [6]

    def test_of_bigcommerce_marks_rows_without_a_picture(self) -> None:
        """Rows of SKUs and rules follow their product; a rule may have a picture of its own."""
        text = (
            "Item Type,Product Code/SKU,Product Image URL - 1\nProduct,A,a.jpg\n  SKU,A-1,\n"
            "  Rule,A-2,b.jpg\n  Rule,,\nProduct,B,\n"
        )
        records = read(text, columns={"external_id": "Product Code/SKU", "source": "Product Image URL - 1"})
        assert named(records) == [("A", "a.jpg"), ("A-2", "b.jpg")]
        assert [reject.line for reject in rejects(records)] == [6]

    def test_of_squarespace_marks_rows_without_a_picture(self) -> None:
        """Only a product's first row has its id."""
        header = "Product ID [Non Editable],Variant ID [Non Editable],SKU,Hosted Image URLs\n"
        text = f"{header}1,a,A,a.jpg\n,b,A-1,\n2,c,B,\n"
        records = read(text, columns={"external_id": "SKU", "source": "Hosted Image URLs"})
        assert named(records) == [("A", "a.jpg")]
        assert [reject.line for reject in rejects(records)] == [4]


class TestTheDelimiter:
    def test_is_a_tab_where_a_name_holds_a_comma(self) -> None:
        """A header of two columns has one of each."""
        manifest = opened("external_id\tsource\nA\ta.jpg\n")
        assert manifest.delimiter == "\t"
        text = "SKU\tPicture, main\nA\ta.jpg\n"
        columns = {"external_id": "SKU", "source": "Picture, main"}
        assert named(read(text, columns=columns)) == [("A", "a.jpg")]

    def test_may_be_set(self) -> None:
        """The option has precedence over the header."""
        text = "external_id:source:a,b,c,d\nA:a.jpg:x\n"
        raw = io.BytesIO(text.encode())
        assert named(list(open_manifest(raw, name="m", delimiter=":"))) == [("A", "a.jpg")]

    @pytest.mark.parametrize(("word", "meant"), [("tab", "\t"), ("\\t", "\t"), (";", ";"), ("pipe", "|")])
    def test_may_be_a_word(self, word: str, meant: str) -> None:
        """A tab is hard to type in a shell."""
        assert read_delimiter(word) == meant

    @pytest.mark.parametrize("word", ["", "ab", '"', "\n", " "])
    def test_must_be_one_character(self, word: str) -> None:
        """A quote, a blank and a line end are refused."""
        with pytest.raises(ValueError, match="is not a delimiter; give one character"):
            read_delimiter(word)


class TestHostileManifests:
    """One slow call blocks all other threads of the process."""

    @pytest.mark.parametrize("between", [",", " ", ";", "|"])
    def test_with_a_cell_of_separators_are_read_at_once(self, between: str) -> None:
        """Each run of separators is scanned once, however long."""
        cell = f"https://shop.example/a.jpg{between * 1_000_000}x://"
        began_at = time.monotonic()
        (record,) = read(f'external_id\tsource\na\t"{cell}"\n')
        assert time.monotonic() - began_at < scaled(1.0)
        assert [reject.column for reject in record.rejects] == ["source"]

    def test_with_one_name_for_all_columns_are_read_at_once(self) -> None:
        """Each column gets the next number."""
        header = ",".join(["external_id", "source", *["note"] * 16_000])
        began_at = time.monotonic()
        (picture,) = pictures(read(f"{header}\na,https://shop.example/a.jpg,1,2,3\n"))
        assert time.monotonic() - began_at < scaled(1.0)
        assert picture.metadata == {"note": "1", "note (2)": "2", "note (3)": "3"}

    def test_with_more_columns_than_spreadsheets_have_are_refused(self) -> None:
        """Each row would be made as wide."""
        header = ",".join(["external_id", "source", *map(str, range(16_383))])
        with pytest.raises(ManifestError, match=r"list\.csv has 16,385 columns, and at most 16,384"):
            opened(f"{header}\na,https://shop.example/a.jpg\n")
