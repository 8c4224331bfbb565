import io
from collections.abc import Iterator

import pytest

from cutout.enums import ReturnForm
from cutout.manifests import ManifestError, Record, open_manifest
from tests.cutout.manifests.records import (
    export,
    failure,
    named,
    only_reject,
    opened,
    pictures,
    read,
    rejects,
)

FILES = "https://shop.example/cdn/files/"
HEADER = "Handle,Title,Variant SKU,Image Src,Image Position,Variant Image\n"


def rows(*lines: str) -> list[Record]:
    return read(HEADER + "\n".join(lines) + "\n")


class TestAnExport:
    def test_is_recognised_by_its_header(self) -> None:
        """Pictures by position, variant images that are not among them, and rows without a picture."""
        manifest = opened(export("shopify_products_export.csv"))
        records = list(manifest)
        assert manifest.kind == "Shopify product export"
        assert named(records) == [
            ("fern-boot/1", f"{FILES}fern-1.jpg?v=17"),
            ("fern-boot/2", f"{FILES}fern-2.jpg?v=17"),
            ("fern-boot/variant/FERN-BR", f"{FILES}fern-brown.jpg?v=17"),
            ("fern-boot/3", f"{FILES}fern-3.jpg?v=17"),
            ("moss-sock/1", f"{FILES}moss.jpg"),
        ]
        assert [(reject.line, reject.column) for reject in rejects(records)] == [(9, "Image Src")]

    def test_is_recognised_in_its_newer_spelling(self) -> None:
        """The names of 2025; a variant without SKU is identified by its row within the product."""
        manifest = opened(export("shopify_products_2025.csv"))
        assert manifest.kind == "Shopify product export"
        assert named(list(manifest)) == [
            ("dune-lamp/1", f"{FILES}dune-a.png"),
            ("dune-lamp/variant/DUNE-S", f"{FILES}dune-s.png"),
            ("dune-lamp/2", f"{FILES}dune-b.png"),
            ("dune-lamp/variant/2", f"{FILES}dune-l.png"),
        ]

    def test_counts_lines_through_a_description(self) -> None:
        """A record's line is its first one, though descriptions take several lines."""
        assert [record.line for record in read(export("shopify_products_export.csv"))] == [2, 6, 7, 8, 9, 10]

    def test_may_have_the_return_form(self) -> None:
        """A column that was added for us is used."""
        (picture,) = pictures(read("Handle,Image Src,return_form\nboot,b.jpg,mask\n"))
        assert picture.return_form is ReturnForm.MASK

    def test_may_have_the_return_form_mapped(self) -> None:
        """Mapping only a missing column leaves it an export."""
        text = "Handle,Image Src,Look\nboot,b.jpg,mask\n"
        (picture,) = pictures(read(text, columns={"return_form": "look"}))
        assert (picture.external_id, picture.return_form) == ("boot/1", ReturnForm.MASK)

    def test_must_have_the_mapped_columns(self) -> None:
        """A missing mapped column is an error."""
        with pytest.raises(ManifestError, match="has no column 'Look'"):
            read("Handle,Image Src\nboot,b.jpg\n", columns={"return_form": "Look"})

    def test_makes_no_picture_of_a_row_with_an_unknown_word(self) -> None:
        """An unknown word is not replaced by the default: the row is rejected."""
        reject = only_reject("Handle,Image Src,return_form\nboot,b.jpg,jpeg\n")
        assert (reject.column, reject.value) == ("return_form", "jpeg")

    def test_must_not_have_a_used_column_twice(self) -> None:
        """Unused columns may repeat."""
        assert named(read("Handle,Image Src,Tag,Tag\nboot,b.jpg,,\n")) == [("boot/1", "b.jpg")]
        _, message = failure("Handle,Image Src,image src\nboot,b.jpg,c.jpg\n")
        assert "more than one column 'Image Src'" in message


class TestThePosition:
    def test_is_counted_where_it_is_missing(self) -> None:
        """Counted within the handle, over the rows that have an image."""
        found = rows("boot,,,b1.jpg,,", "boot,,S,,,v.jpg", "boot,,,b2.jpg,,", "sock,,,s1.jpg,,")
        assert named(found) == [
            ("boot/1", "b1.jpg"),
            ("boot/variant/S", "v.jpg"),
            ("boot/2", "b2.jpg"),
            ("sock/1", "s1.jpg"),
        ]

    @pytest.mark.parametrize("position", ["first", "-1", "1.5", "²", "9" * 5000])
    def test_must_be_a_whole_number(self, position: str) -> None:
        """Any other value is rejected by name."""
        (reject,) = rejects(rows(f"boot,,,b.jpg,{position},"))
        assert (reject.column, reject.value) == ("Image Position", position[:200])
        assert reject.reason == "is not a whole number; number the product's pictures 1, 2, 3"


class TestAVariantImage:
    def test_is_left_out_if_the_product_has_it(self) -> None:
        """As an image or another variant's; the row is no reject."""
        found = rows("boot,,S,b.jpg,1,b.jpg", "boot,,M,,,b.jpg", "boot,,L,,,v.jpg", "boot,,XL,,,v.jpg")
        assert named(found) == [("boot/1", "b.jpg"), ("boot/variant/L", "v.jpg")]
        assert rejects(found) == []

    def test_of_another_product_counts(self) -> None:
        """Sources are forgotten with the handle."""
        assert named(rows("boot,,S,b.jpg,1,", "sock,,M,,,b.jpg")) == [
            ("boot/1", "b.jpg"),
            ("sock/variant/M", "b.jpg"),
        ]

    def test_without_a_sku_is_known_by_its_row(self) -> None:
        """Counted within the product, over all its rows."""
        found = rows("sock,,,s.jpg,,", "boot,,,b.jpg,,", "boot,,,,,", "boot,,,,,v.jpg")
        assert named(found)[-1] == ("boot/variant/3", "v.jpg")

    def test_is_remembered_for_some_hundred(self) -> None:
        """A product of a million pictures does not fill the memory; the first 500 are remembered."""
        lines = [f"boot,,,{number}.jpg,," for number in range(600)]
        found = named(rows(*lines, "boot,,KNOWN,,,499.jpg", "boot,,NEW,,,599.jpg"))
        assert found[600:] == [("boot/variant/NEW", "599.jpg")]


class TestARowWithoutAPicture:
    def test_is_a_reject(self) -> None:
        """Its reason begins with `no picture`, so that it can be counted."""
        (reject,) = rejects(rows("gift,Gift card,,,,"))
        assert (reject.line, reject.column, reject.value) == (2, "Image Src", "")
        assert reject.reason.startswith("no picture: ")

    def test_or_without_a_handle_is_a_reject(self) -> None:
        """Its picture would have no id."""
        (reject,) = rejects(rows(",Boot,,b.jpg,1,"))
        assert (reject.column, reject.reason) == ("Handle", "is empty; give each row its product's handle")


def shop_of(products: int) -> Iterator[str]:
    """An export with the shape of public ones: sizes without a picture, more pictures than sizes, rows of
    pictures alone, a variant's own picture, and of every thousandth product none at all.
    """
    yield HEADER
    for n in range(products):
        pictures = 0 if n % 1000 == 999 else 1 + n % 4
        sizes = 1 + n % 7
        for row in range(max(pictures, sizes)):
            title = "Shirt" if row == 0 else ""
            sku = f"S-{n}-{row}" if row < sizes else ""
            image, position = (f"{n}-{row}.jpg", row + 1) if row < pictures else ("", "")
            variant = f"{n}-v.jpg" if pictures and row == sizes - 1 and n % 5 == 0 else ""
            yield f"shirt-{n},{title},{sku},{image},{position},{variant}\n"


class TestAVariantWithoutAPicture:
    def test_is_no_reject_in_ten_thousand_products(self) -> None:
        """Each of ten products without a picture is a reject, by its first row, and nothing else is."""
        records = read("".join(shop_of(10_000)))
        found = rejects(records)
        assert len(found) == 10
        assert {reject.reason.partition(":")[0] for reject in found} == {"no picture"}
        cells = {record.line: list(record.cells) for record in records}
        assert all(cells[reject.line][1] == "Shirt" for reject in found)
        assert [record.line for record in records] == list(range(2, len(records) + 2))
        images = sum(bool(row[3]) + bool(row[5]) for row in cells.values())
        assert len(named(records)) == images

    @pytest.mark.parametrize("column", ["Image Src", "variant image"])
    def test_is_no_reject_with_mapped_columns(self, column: str) -> None:
        """A product is one if the mapped column is empty in all its rows."""
        lines = ["boot,Boot,S,b.jpg,1,v.jpg", "boot,,M,,,", "boot,,L,,,", "gift,Gift,G,,,", "gift,,H,,,"]
        records = read(
            HEADER + "\n".join(lines) + "\n", columns={"external_id": "Variant SKU", "source": column}
        )
        assert named(records) == [("S", "b.jpg" if column == "Image Src" else "v.jpg")]
        (reject,) = rejects(records)
        assert (reject.line, reject.column.casefold()) == (5, column.casefold())
        assert reject.reason.startswith("no picture: ")

    def test_may_have_columns_twice_that_nobody_asked_for(self) -> None:
        """A mapped export is no Shopify's then."""
        text = "Handle,Handle,Image Src,SKU,Pic\na,b,,S,s.jpg\n"
        assert named(read(text, columns={"external_id": "SKU", "source": "Pic"})) == [("S", "s.jpg")]

    @pytest.mark.parametrize("where", ["behind it", "before it", "apart from it"])
    def test_belongs_to_its_product_wherever_its_picture_is(self, where: str) -> None:
        """The picture of a product may come last, or with other products' rows between."""
        picture, variant, other = "boot,,,b.jpg,1,", "boot,,S,,,", "sock,,,s.jpg,1,"
        orders = {
            "behind it": (variant, picture),
            "before it": (picture, variant),
            "apart from it": (picture, other, variant),
        }
        found = rows(*orders[where])
        assert rejects(found) == []
        assert ("boot/1", "b.jpg") in named(found)

    def test_is_not_held_back_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A product with more rows than Shopify allows is classified by the first ones."""
        monkeypatch.setattr("cutout.manifests.products.MOST_HELD", 3)
        found = rows(*["boot,,S,,,"] * 9, "boot,,,b.jpg,1,")
        assert [reject.line for reject in rejects(found)] == [2]
        assert len(found) == 10

    @pytest.mark.parametrize("row", ["boot," + 1000 * "t" + ",S,,,", "boot,,S,,," + 1000 * ","])
    def test_is_held_back_in_little_memory(self, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Long cells or very many rows: a few rows of a million characters count as thousands."""
        monkeypatch.setattr("cutout.manifests.products.MOST_CHARACTERS_HELD", 5000)
        content = io.BytesIO("".join([HEADER, *[f"{row}\n"] * 500]).encode())
        assert next(open_manifest(content, name="list.csv").records).line == 2
        assert content.tell() < len(content.getvalue()) / 2
