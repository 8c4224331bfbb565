import time

import pytest

from cutout.manifests import ManifestError, parse_columns
from tests.cutout.manifests.records import failure, named, pictures, read
from tests.support.machine import scaled


class TestParsingTheMap:
    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("external_id=SKU", {"external_id": "SKU"}),
            ('external_id=SKU,source="Image URL"', {"external_id": "SKU", "source": "Image URL"}),
            ("external_id=SKU,source=Image URL", {"external_id": "SKU", "source": "Image URL"}),
            (' external_id = SKU , source = "a, b" ', {"external_id": "SKU", "source": "a, b"}),
            ('source="the ""best"" one"', {"source": 'the "best" one'}),
            ("source=a=b", {"source": "a=b"}),
            ("return_form=Form,priority=Rank", {"return_form": "Form", "priority": "Rank"}),
            ("external_id=URL,source=URL", {"external_id": "URL", "source": "URL"}),
        ],
    )
    def test_takes_pairs_of_target_and_column(self, text: str, columns: dict[str, str]) -> None:
        """Blanks around names are ignored; commas and quotes are quoted; two targets may share a column."""
        assert parse_columns(text) == columns

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "'' is not target=column; write `external_id=SKU"),
            ("SKU", "'SKU' is not target=column"),
            ("external_id=SKU,", "'' is not target=column"),
            ("external_id=SKU,,source=b", "',source=b' is not target=column"),
            ('source="Image URL', "'source=\"Image URL' is not target=column"),
            ('source="a"b', "'source=\"a\"b' is not target=column"),
            ("source=", "no column is named for source"),
            ('source=" "', "no column is named for source"),
            ("sku=SKU", "'sku' cannot be mapped; map external_id, source, return_form, priority"),
            ("source=a,source=b", "source is mapped twice, to 'a' and 'b'; keep one"),
        ],
    )
    def test_names_the_fault(self, text: str, problem: str) -> None:
        """Each message names the faulty part and what to write."""
        with pytest.raises(ValueError, match=r"\w") as caught:
            parse_columns(text)
        assert problem in str(caught.value)

    def test_refuses_a_long_one_at_once(self) -> None:
        """A million quotes without an end are refused without backtracking."""
        with pytest.raises(ValueError, match="is not target=column"):
            parse_columns('source="' + '""' * 500_000)


class TestMapping:
    def test_finds_the_mapped_columns(self) -> None:
        """The user's names replace the targets, in any letter case; unmapped columns are metadata."""
        records = read(
            "sku,IMAGE URL,source\nA,https://shop.example/a.jpg,warehouse\n",
            columns={"external_id": "SKU", "source": "Image url"},
        )
        (picture,) = pictures(records)
        assert (picture.external_id, picture.source) == ("A", "https://shop.example/a.jpg")
        assert picture.metadata == {"source": "warehouse"}

    def test_leaves_the_others_under_their_own_names(self) -> None:
        """Mapping one target does not require the others."""
        assert named(read("external_id,url\nA,a.jpg\n", columns={"source": "url"})) == [("A", "a.jpg")]

    def test_refuses_a_missing_mapped_column(self) -> None:
        """Even an optional one: the user expects it."""
        with pytest.raises(ManifestError, match="has no column 'Form'; its first line names 'external_id', "):
            read("external_id,source\nA,a.jpg\n", columns={"return_form": "Form"})

    def test_refuses_a_target_that_it_does_not_know(self) -> None:
        """A misspelled target is an error."""
        with pytest.raises(ValueError, match="'sku' cannot be mapped"):
            read("external_id,source\n", columns={"sku": "SKU"})


class TestAHeader:
    def test_is_read_in_any_letter_case_and_with_blanks(self) -> None:
        """Spreadsheets and people write names in many ways."""
        assert named(read(" External_ID ,SOURCE\nA,a.jpg\n")) == [("A", "a.jpg")]

    def test_must_name_the_needed_columns(self) -> None:
        """The message lists the columns found, the needed ones, and how to map them."""
        _, message = failure("SKU,Image URL\nA,a.jpg\n")
        assert message == (
            "list.csv has no column 'external_id' and no column 'source'; its first line names 'SKU',"
            " 'Image URL'. Needed are external_id and source: rename the columns, or map them with"
            ' `--map external_id="COLUMN",source="COLUMN"`'
        )

    @pytest.mark.parametrize(
        ("header", "hint"),
        [
            ("Picture, main, big\tSKU", "if 'big\\tSKU' is more than one column, set `--delimiter tab`"),
            ("SKU;Picture\tA\tB", "if 'SKU;Picture' is more than one column, set `--delimiter semicolon`"),
        ],
    )
    def test_that_may_have_another_delimiter_says_so(self, header: str, hint: str) -> None:
        """A name that has one in it may be two names."""
        _, message = failure(f"{header}\nx\n")
        assert message.endswith(hint)

    def test_shows_only_some_of_very_many_names(self) -> None:
        """A thousand long names do not make a message of a megabyte."""
        _, message = failure(",".join(f"{'x' * 900}{number}" for number in range(1000)) + "\n")
        assert "940 more" in message
        assert len(message) < 6000

    @pytest.mark.parametrize("header", ["external_id,source,Source", "external_id,source,priority,Priority "])
    def test_must_not_repeat_a_name_that_is_used(self, header: str) -> None:
        """It is unknown which of the two columns is meant."""
        _, message = failure(f"{header}\nA,a.jpg,b\n")
        assert "has more than one column" in message
        assert "rename or remove one" in message

    def test_may_repeat_an_unused_name(self) -> None:
        """BigCommerce repeats names: both columns are kept, the second with a number, whatever other names
        exist.
        """
        text = "external_id,source,File,File (2),File,Size,Size \nA,a.jpg,1,2,3,4,5\n"
        (picture,) = pictures(read(text))
        assert picture.metadata == {
            "File": "1",
            "File (2)": "2",
            "File (3)": "3",
            "Size": "4",
            "Size (2)": "5",
        }

    def test_may_have_columns_without_a_name(self) -> None:
        """Spreadsheets leave empty columns behind; they are no metadata."""
        (picture,) = pictures(read("external_id,source,,\nA,a.jpg,x,y\n"))
        assert picture.metadata is None

    def test_alone_gives_no_records(self) -> None:
        """The caller decides whether that is an error."""
        assert read("external_id,source\n") == []


def test_a_mapping_of_blanks_is_refused_at_once() -> None:
    """It is parsed on an event loop, where some milliseconds would delay all requests."""
    began_at = time.monotonic()
    with pytest.raises(ValueError, match="is not target=column"):
        parse_columns(" " * 20_000)
    assert time.monotonic() - began_at < scaled(0.5)
