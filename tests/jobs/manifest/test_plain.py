from jobs.manifest import Picture
from jobs.states import Priority, ReturnForm
from tests.jobs.manifest.reading import export, named, opened, pictures, read, rejects


class TestAPlainManifest:
    def test_gives_a_picture_a_row(self) -> None:
        """The four known columns, in any order; every other cell that is not empty is metadata."""
        text = "colour,priority,source,external_id,return_form,size\nred,bulk,a.jpg,A,crop,\n"
        assert pictures(read(text)) == [
            Picture("A", "a.jpg", ReturnForm.CROP, Priority.BULK, {"colour": "red"})
        ]

    def test_keeps_the_row_as_it_was_written(self) -> None:
        """The cells and the header can be written back, blanks and all."""
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
        """One look at the rejects is enough to mend the row."""
        records = read("external_id,source\n,\nA,\n,a.jpg\nB,b.jpg\n")
        assert [(reject.line, reject.column) for reject in rejects(records)] == [
            (3, "source"),
            (4, "external_id"),
        ]
        assert named(records) == [("B", "b.jpg")]

    def test_gives_ten_thousand_rejects_in_a_row(self) -> None:
        """How many are too many is for the caller to say."""
        assert len(rejects(read("external_id,source\n" + "A,\n" * 10_000))) == 10_000

    def test_wins_over_a_known_export(self) -> None:
        """A file that has both the plain columns and an export's is read by the plain ones."""
        manifest = opened("Handle,Image Src,external_id,source\nboot,b.jpg,A,a.jpg\n")
        assert manifest.kind == "CSV manifest"
        assert named(list(manifest)) == [("A", "a.jpg")]

    def test_wins_where_the_user_maps_the_columns(self) -> None:
        """A known export is read as the user says."""
        columns = {"external_id": "Variant SKU", "source": "Image Src"}
        found = named(read(export("shopify_products_export.csv"), columns=columns))
        assert found[0] == ("FERN-GR", "https://shop.example/cdn/files/fern-1.jpg?v=17")


class TestWhatExcelWrites:
    def test_semicolons(self) -> None:
        """Its separator line, mark, CRLF, empty columns, empty rows, commas in cells and doubled quotes."""
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
        """UTF-16 with tabs, whatever the file is called."""
        manifest = opened(export("excel_unicode_text.txt"))
        assert (manifest.kind, manifest.encoding) == ("TSV manifest", "utf-16")
        assert named(list(manifest)) == [("SKU-1", "https://shop.example/żuk.jpg")]

    def test_macintosh_lines(self) -> None:
        """A bare CR ends a line, and may stand within quotes."""
        records = read(export("excel_macintosh.csv"))
        assert [(record.line, record.pictures[0].external_id) for record in records] == [
            (2, "SKU-1"),
            (4, "SKU-2"),
        ]
        assert records[0].cells[2] == "two\rlines"  # type: ignore[index]
