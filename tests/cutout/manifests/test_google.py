from cutout.enums import Priority
from tests.cutout.manifests.records import export, named, opened, pictures, read, rejects

IMAGES = "https://shop.example/img/"
HEADER = "id\timage_link\tadditional_image_link\n"


class TestAFeedInTabs:
    def test_is_recognised_by_its_header(self) -> None:
        """The main picture has the product's id, the additional ones are numbered from 2."""
        manifest = opened(export("google_feed.tsv"))
        records = list(manifest)
        assert (manifest.kind, manifest.delimiter) == ("Google Merchant feed", "\t")
        assert named(records) == [
            ("MUG-01", f"{IMAGES}mug.jpg"),
            ("MUG-01/2", f"{IMAGES}mug-2.jpg"),
            ("MUG-01/3", f"{IMAGES}mug-3.jpg"),
            ("BOWL-7", f"{IMAGES}bowl.jpg"),
        ]
        (reject,) = rejects(records)
        assert (reject.line, reject.column) == (4, "image_link")
        assert reject.reason.startswith("no picture: ")

    def test_is_recognised_in_commas(self) -> None:
        """Merchant Center imports and exports CSV too."""
        manifest = opened('ID,Image Link,Additional Image Link\nA,a.jpg,"b.jpg, c.jpg,"\n')
        assert manifest.kind == "Google Merchant feed"
        assert named(list(manifest)) == [("A", "a.jpg"), ("A/2", "b.jpg"), ("A/3", "c.jpg")]

    def test_may_have_a_priority(self) -> None:
        """A column that was added for us is used."""
        (picture,) = pictures(read("id\timage_link\tpriority\nA\ta.jpg\tbulk\n"))
        assert picture.priority is Priority.BULK


class TestAdditionalPictures:
    def test_are_ten_at_most(self) -> None:
        """That is Google's limit; the others are one reject."""
        links = ",".join(f"{number}.jpg" for number in range(2, 15))
        records = read(f"{HEADER}A\ta.jpg\t{links}\n")
        assert [external_id for external_id, _ in named(records)] == [
            "A",
            *(f"A/{number}" for number in range(2, 12)),
        ]
        (reject,) = rejects(records)
        assert (reject.column, reject.value) == ("additional_image_link", "12.jpg")
        assert "one of 13 additional pictures, of which Google takes 10" in reject.reason

    def test_may_be_in_several_columns(self) -> None:
        """Google allows a column to repeat."""
        text = "id\timage_link\tadditional_image_link\tadditional_image_link\nA\ta.jpg\tb.jpg\tc.jpg\n"
        assert named(read(text)) == [("A", "a.jpg"), ("A/2", "b.jpg"), ("A/3", "c.jpg")]

    def test_keep_their_numbers_without_a_main_one(self) -> None:
        """An id means the same picture from one export to the next."""
        assert named(read(f"{HEADER}A\t\tb.jpg\n")) == [("A/2", "b.jpg")]

    def test_are_kept_where_one_is_at_fault(self) -> None:
        """Only the faulty one is rejected."""
        records = read(f"{HEADER}A\ta.jpg\tb.jpg,{'x' * 2049},d.jpg\n")
        assert [external_id for external_id, _ in named(records)] == ["A", "A/2", "A/4"]
        (reject,) = rejects(records)
        assert reject.reason == "has 2049 characters; use at most 2048"


class TestAProductWithoutAnId:
    def test_is_rejected_once(self) -> None:
        """There is one reject, not one per picture."""
        (reject,) = rejects(read(f"{HEADER}\ta.jpg\tb.jpg,c.jpg\n"))
        assert (reject.column, reject.reason) == ("id", "is empty; give each product its own id")
