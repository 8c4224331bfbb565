import io

import pytest

from cutout.enums import Priority, ReturnForm
from cutout.manifests import Picture, open_manifest
from tests.cutout.manifests.records import (
    endless_failure,
    export,
    failure,
    named,
    only_reject,
    opened,
    pictures,
    read,
)

GOOD = '{"external_id": "A", "source": "a.jpg"}\n'


class TestObjects:
    def test_give_a_picture_each(self) -> None:
        """Values become texts, null and empty ones are omitted, blank lines are skipped."""
        manifest = opened(export("catalog.ndjson"))
        records = list(manifest)
        assert (manifest.kind, manifest.header, manifest.delimiter) == ("NDJSON manifest", (), None)
        assert [picture for record in records for picture in record.pictures] == [
            Picture(
                "SKU-1",
                "https://shop.example/1.jpg",
                ReturnForm.CROP,
                Priority.BULK,
                {"colour": "grün", "stock": "12", "price": "12.5", "new": "true"},
            ),
            Picture("4471", "https://shop.example/2.jpg", None, None, None),
            Picture("SKU-3", "https://shop.example/3.jpg", None, None, {"sizes": "[38, 39]"}),
        ]
        assert [record.line for record in records] == [1, 3, 4]

    def test_keep_the_decoded_line(self) -> None:
        """The record has the decoded object, to be written back."""
        assert read('{"external_id": 7, "source": "a.jpg", "n": null}')[0].cells == {
            "external_id": 7,
            "source": "a.jpg",
            "n": None,
        }

    def test_may_be_mapped(self) -> None:
        """Names are found in any letter case, the exact spelling first."""
        text = '{"SKU": "A", "sku": "low", "Image URL": "a.jpg"}'
        (picture,) = pictures(read(text, columns={"external_id": "SKU", "source": "image url"}))
        assert (picture.external_id, picture.source, picture.metadata) == ("A", "a.jpg", {"sku": "low"})

    def test_may_hold_lists_and_objects(self) -> None:
        """Values that are no targets are kept as JSON, with lone surrogates."""
        more = '"tags": ["été", 1], "p": {"amount": "10"}, "h": ["\\ud800"]'
        text = f'{{"external_id": "A", "source": "a.jpg", {more}}}'
        (picture,) = pictures(read(text))
        assert picture.metadata == {"tags": '["été", 1]', "p": '{"amount": "10"}', "h": '["\\ud800"]'}

    def test_may_be_mapped_into_an_object(self) -> None:
        """Shopify's bulk export nests the URL."""
        text = '{"id": "gid://p/1", "featuredImage": {"url": "https://x/a.jpg"}, "a.b": "c"}'
        columns = {"external_id": "id", "source": "featuredImage.url"}
        (picture,) = pictures(read(text, columns=columns))
        assert (picture.external_id, picture.source) == ("gid://p/1", "https://x/a.jpg")
        missing = only_reject('{"id": "1", "featuredImage": null}', columns=columns)
        assert (missing.column, missing.reason.partition(";")[0]) == (
            "featuredImage.url",
            "is not in the object",
        )

    def test_may_list_several_pictures(self) -> None:
        """Each picture gets an id by the order of its URL, in the order of the list."""
        text = '{"external_id": "A", "source": ["https://x/b.jpg", "https://x/a.jpg", "https://x/b.jpg"]}'
        assert named(read(text)) == [("A-2", "https://x/b.jpg"), ("A", "https://x/a.jpg")]


class TestALineThatIsRejected:
    @pytest.mark.parametrize(
        ("line", "column", "reason"),
        [
            ("nonsense", "", "is not JSON: Expecting value at position 1"),
            ('{"external_id": "A"', "", "is not JSON: Expecting ',' delimiter at position 20"),
            ("[1, 2]", "", "is JSON but not an object"),
            ('"text"', "", "is JSON but not an object"),
            ('{"external_id": "A", "source": NaN}', "", "has NaN, which is not JSON"),
            ('{"external_id": "A", "source": -Infinity}', "", "has -Infinity, which is not JSON"),
            ('{"external_id": "A", "source": "a", "source": "b"}', "", "has the name 'source' twice"),
            (f'{{"external_id": "A", "source": "a", "n": {"9" * 5000}}}', "", "a number that is too long"),
            ('{"a": ' + "[" * 100_000, "", "is nested too deeply"),
            ('{"external_id": {"b": 1}, "source": "a"}', "external_id", "is an object or a list"),
            (
                '{"external_id": "A", "source": {"id": "7", "url": "https://x/a"}}',
                "source",
                "is an object; map one of its fields, such as `--map source=source.url`",
            ),
            ('{"external_id": "A", "source": {"n": 1}}', "source", "is an object or a list"),
            ('{"external_id": "A", "source": ["https://x/a", 1]}', "source", "is an object or a list"),
            ('{"external_id": "A", "source": ["a"]}', "source", "is an object or a list"),
            ('{"external_id": "A", "source": "a", "x": 1e999}', "x", "is too large a number"),
            ('{"external_id": "\\ud800", "source": "a"}', "external_id", "surrogate pair, \\ud800"),
            ('{"external_id": "A", "source": "a", "x": "\\udfff"}', "x", "surrogate pair, \\udfff"),
            ('{"external_id": "A", "source": "a", "\\ud801": "b"}', "\\ud801", "has half a surrogate pair"),
            ('{"external_id": "A", "source": "a", "x": "\\u0000"}', "x", "has a NUL character"),
            ('{"external_id": "A\\u0007", "source": "a"}', "external_id", "has the control character U+0007"),
            (
                '{"external_id": "A"}',
                "source",
                "is not in the object; name it, or map another with `--map",
            ),
            ('{"external_id": null, "source": "a"}', "external_id", "is empty"),
            ('{"external_id": "A", "source": "a", "priority": 1}', "priority", "is not one of interactive"),
        ],
    )
    def test_has_a_reason(self, line: str, column: str, reason: str) -> None:
        """The reject names the faulty column, if there is one, and the lines around it are read."""
        reject = only_reject(GOOD + line + "\n" + GOOD)
        assert (reject.line, reject.column) == (2, column)
        assert reason in reject.reason
        assert named(read(GOOD + line + "\n" + GOOD)) == [("A", "a.jpg")] * 2

    def test_is_kept_as_it_is(self) -> None:
        """A line that is no object can be written back too."""
        assert read(GOOD + "nonsense\n")[1].cells == ("nonsense",)

    def test_can_be_written_in_utf_8(self) -> None:
        """A lone surrogate is escaped: a reject can be printed in UTF-8."""
        reject = only_reject('{"external_id": "\\ud800", "source": "a"}')
        assert reject.value.encode() == b"\\ud800"

    def test_is_found_among_many_names_at_once(self) -> None:
        """One repeated name among eighty thousand is found at once."""
        names = ", ".join(f'"{number}": 1' for number in range(80_000))
        assert "'79999' twice" in only_reject(f'{{{names}, "79999": 2}}').reason


class TestOtherJson:
    def test_in_an_array_is_refused(self) -> None:
        """The message has the command that converts it to lines."""
        _, message = failure('[{"external_id": "A", "source": "a.jpg"}]')
        assert message == (
            "list.csv is a JSON array; write one object a line, for instance with `jq -c '.[]'`"
        )

    def test_over_several_lines_is_refused(self) -> None:
        """It is not rejected line by line."""
        _, message = failure('\n{\n  "external_id": "A",\n  "source": "a.jpg"\n}\n')
        assert "has a JSON object over several lines" in message
        assert "`jq -c .`" in message

    def test_without_end_ends_at_a_megabyte(self) -> None:
        """Reading a text of five gigabytes stops after little more than one megabyte."""
        taken, message = endless_failure(GOOD.encode() + b'{"external_id": "', b"x" * 65_536)
        assert taken < 1.3 * 1024**2
        assert message.startswith("line 2 of list.csv has more than 1,048,576 characters")


class TestValuesThatCannotBeKept:
    @pytest.mark.parametrize("depth", range(900, 1010))
    def test_by_their_depth_reject_their_line_alone(self, depth: int) -> None:
        """Also values that can be read but not written."""
        deep = "[" * depth + "]" * depth
        bad = f'{{"external_id":"a","source":"a.jpg","m":{deep}}}\n'
        found = read(bad + '{"external_id":"b","source":"b.jpg"}\n')
        assert named(found)[-1] == ("b", "b.jpg")

    @pytest.mark.parametrize("value", ['"\\u0000"', '"\\ud800"', "1e999"])
    def test_as_the_position_reject_their_line_alone(self, value: str) -> None:
        """The position is a path into an object."""
        lines = f'{{"external_id":"a","source":"a.jpg","o":{{"p":{value}}}}}\n' * 2
        manifest = open_manifest(io.BytesIO(lines.encode()), name="n", columns={"position": "o.p"}, many=True)
        assert [len(record.rejects) for record in manifest] == [1, 1]
