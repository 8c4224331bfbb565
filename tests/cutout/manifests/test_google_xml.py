import io
import time

import pytest

from cutout.manifests import open_manifest
from tests.cutout.manifests.records import (
    endless_failure,
    export,
    failure,
    named,
    opened,
    pictures,
    read,
    rejects,
)

IMAGES = "https://shop.example/img/"
RSS = '<?xml version="1.0"?>\n<rss xmlns:g="http://base.google.com/ns/1.0"><channel>\n'
ITEM = "<item><g:id>A</g:id><g:image_link>a.jpg</g:image_link></item>\n"
END = "</channel></rss>"


class TestRss:
    def test_gives_the_pictures_of_each_item(self) -> None:
        """Repeated additional links, references, CDATA, blanks around texts, comments."""
        manifest = opened(export("google_feed.xml"))
        records = list(manifest)
        assert (manifest.kind, manifest.header) == ("Google Merchant feed", ())
        assert named(records) == [
            ("MUG-01", f"{IMAGES}mug.jpg?w=900&h=900"),
            ("MUG-01/2", f"{IMAGES}mug-2.jpg"),
            ("MUG-01/3", f"{IMAGES}mug-3.jpg"),
            ("BOWL-7", f"{IMAGES}bowl.jpg"),
        ]
        (reject,) = rejects(records)
        assert (reject.line, reject.column) == (17, "image_link")

    def test_gives_the_line_of_each_item(self) -> None:
        """Lines are counted from the first line of the file."""
        assert [record.line for record in read(export("google_feed.xml"))] == [7, 17, 18]
        assert [record.line for record in read("\n\r\n  " + RSS + ITEM + END)] == [5]

    def test_keeps_the_texts_of_an_item(self) -> None:
        """Texts are kept by element, those of nested elements by their path."""
        cells = read(export("google_feed.xml"))[0].cells
        assert cells == {
            "g:id": ["MUG-01"],
            "title": ['Mug "Tide" & saucer'],
            "g:image_link": [f"{IMAGES}mug.jpg?w=900&h=900"],
            "g:additional_image_link": [f"{IMAGES}mug-2.jpg", f"{IMAGES}mug-3.jpg"],
            "g:shipping/g:country": ["DE"],
            "g:shipping/g:price": ["4.90 EUR"],
        }

    def test_may_lack_the_namespace(self) -> None:
        """The feeds of some shops have plain element names."""
        text = "<rss><channel><item><id>A</id><image_link>a.jpg</image_link></item></channel></rss>"
        assert named(read(text)) == [("A", "a.jpg")]

    def test_may_be_mapped(self) -> None:
        """Other elements can be the id and the picture."""
        text = f"{RSS}<item><g:id>A</g:id><g:mpn>M</g:mpn><g:image_link>a.jpg</g:image_link></item>{END}"
        assert named(read(text, columns={"external_id": "mpn"})) == [("M", "a.jpg")]


class TestAtom:
    def test_gives_the_pictures_of_each_entry(self) -> None:
        """Google's id, with any prefix, has precedence over Atom's own."""
        assert named(read(export("google_feed_atom.xml"))) == [("MUG-01", f"{IMAGES}mug.jpg")]


class TestItsEncoding:
    def test_is_the_declared_one(self) -> None:
        """The XML declaration gives the encoding."""
        text = '<?xml version="1.0" encoding="ISO-8859-1"?><rss><item><id>Ä</id>'
        content = (text + "<image_link>ä.jpg</image_link></item></rss>").encode("latin-1")
        assert named(read(content)) == [("Ä", "ä.jpg")]

    def test_is_not_utf_16_where_that_cannot_be(self) -> None:
        """Programs in .NET declare UTF-16 in files that are UTF-8."""
        text = '<?xml version="1.0" encoding="utf-16"?><rss><item><id>ż</id>'
        assert named(read(text + "<image_link>a</image_link></item></rss>")) == [("ż", "a")]

    def test_must_be_known(self) -> None:
        """An unknown declared encoding is named."""
        _, message = failure('<?xml version="1.0" encoding="klingon"?><rss/>')
        assert "the encoding 'klingon' that list.csv declares is not known" in message

    def test_may_be_utf_16(self) -> None:
        """The byte order mark has precedence over the declaration."""
        text = '<?xml version="1.0" encoding="utf-8"?><rss><item><id>ż</id>'
        content = (text + "<image_link>a</image_link></item></rss>").encode("utf-16")
        assert named(read(content)) == [("ż", "a")]


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<rss><item><id>&b;</id></item></rss>"
)
EXTERNAL = '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item></rss>'
PARAMETER = '<!DOCTYPE rss [<!ENTITY % p SYSTEM "https://shop.example/x.dtd"> %p;]><rss/>'


class TestADocumentType:
    @pytest.mark.parametrize("text", [BOMB, EXTERNAL, PARAMETER, '<!DOCTYPE rss SYSTEM "rss.dtd"><rss/>'])
    def test_is_refused_with_all_its_entities(self, text: str) -> None:
        """Nothing is expanded or fetched: an entity bomb, a file of ours, a file of others."""
        records, message = failure(text)
        assert records == []
        assert "declares a document type in line 1" in message
        assert "remove the <!DOCTYPE" in message

    @pytest.mark.parametrize(
        "text", ["<!DOCTYPE html><html></html>", "\n<!doctype html><p>", "<html></html>"]
    )
    def test_of_a_web_page_is_named(self, text: str) -> None:
        """A sign-in page was saved in place of the feed."""
        _, message = failure(text)
        assert message == "list.csv is a web page, not a feed; download the feed itself"

    def test_is_needed_for_an_entity(self) -> None:
        """An undeclared entity is a reject, not an empty text."""
        (reject,) = rejects(read(f"{RSS}<item><g:id>&who;</g:id></item>{END}"))
        assert (reject.line, reject.column, reject.value) == (3, "g:id", "&who;")


class TestDamagedXml:
    def test_keeps_the_items_before_the_damage(self) -> None:
        """Complete items come first, then the error with its line."""
        records, message = failure(RSS + ITEM + ITEM + "<item><g:id>B</g:id>")
        assert named(records) == [("A", "a.jpg")] * 2
        assert message == (
            "list.csv is not well-formed XML: no element found, in line 5 at position 21;"
            " export the feed again"
        )

    @pytest.mark.parametrize("text", [f"{RSS}<item></channel>", f"{RSS}<x:id/>", f"{RSS}<item a=1>", "<"])
    def test_is_an_error(self, text: str) -> None:
        """Tags that do not match, undeclared prefixes, attributes without quotes."""
        assert "is not well-formed XML" in failure(text)[1]

    def test_counts_the_lines_that_were_skipped(self) -> None:
        """Blank lines above the declaration count."""
        assert "in line 4 at position" in failure("\n\n\n<rss></channel>")[1]

    def test_has_another_root(self) -> None:
        """XML that is no feed is named by its root."""
        _, message = failure("<products><product/></products>")
        assert "is XML with the root <products>; supported are Google Merchant feeds" in message

    def test_is_nested_too_deeply(self) -> None:
        """The error comes at level 33, not at the millionth."""
        assert "nests elements more than 32 deep in line 3" in failure(RSS + "<a>" * 1_000_000)[1]
        assert pictures(read(RSS + "<a>" * 28 + ITEM.strip() + "</a>" * 28 + END))


ITEM_START = (RSS + "<item><g:id>").encode()


class TestEndlessXml:
    def test_may_have_many_comments(self) -> None:
        """Two megabytes of comments are accepted, because each is short."""
        assert named(read(RSS + "<!-- nothing -->" * 130_000 + ITEM + END)) == [("A", "a.jpg")]

    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (ITEM_START, b"x" * 65_536),
            (ITEM_START, b"</g:id><g:id>" * 5_000),
            (ITEM_START, b"<b/>" * 16_384),
            ((RSS + "<item g:x='").encode(), b"x" * 65_536),
            ((RSS + "<!--").encode(), b"x" * 65_536),
            (ITEM_START + b"<![CDATA[", b"x" * 65_536),
        ],
        ids=["text", "elements", "empty elements", "attribute", "comment", "cdata"],
    )
    def test_ends_at_a_megabyte(self, start: bytes, piece: bytes) -> None:
        """Reading an item, a tag or a comment of five gigabytes stops after little more than one megabyte."""
        taken, message = endless_failure(start, piece)
        assert taken < 1.3 * 1024**2
        assert "has an item or a tag of more than 1,048,576 characters in line 3" in message


class TestACharacterThatXmlDoesNotAllow:
    @pytest.mark.parametrize(
        ("title", "said"),
        [
            ("T\x0b3", "has the control character U+000B at position 2; remove it"),
            ("T&#11;", "has the control character U+000B at position 2; remove it"),
            ("T&#x1F;", "has the control character U+001F at position 2; remove it"),
            ("<![CDATA[T\x08]]>", "has the control character U+0008 at position 2; remove it"),
            ("T\ufffe", "has a character that XML does not allow at position 2; remove it"),
            ("H&M", "has a bare & at position 2; write &amp;"),
            ("a & b", "has a bare & at position 3; write &amp;"),
            (
                "a&nbsp;b",
                "has the entity &nbsp; at position 2, which XML does not define; write the character itself",
            ),
            (
                "&DoubleLongLeftArrow;",
                "has the entity &DoubleLongLeftArrow; at position 1, which XML does not",
            ),
            ("Size < 5", "has a bare < at position 6; write &lt;"),
            ("<3", "has a bare < at position 1; write &lt;"),
        ],
    )
    @pytest.mark.parametrize("piece", [1, 7, 100_000], ids=lambda size: f"{size} bytes at a time")
    def test_rejects_its_item_and_names_it(self, title: str, said: str, piece: int) -> None:
        """The other items are read, whatever the sizes of the chunks."""

        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size or 1, piece))

        bad = f"<item><g:id>B</g:id><title>{title}</title><g:image_link>b.jpg</g:image_link></item>"
        content = f"{RSS}<title>{title}</title>{ITEM}\n{bad}{ITEM}{END}".encode("utf-8", "surrogatepass")
        records = list(open_manifest(Trickle(content), name="list.csv"))
        assert named(records) == [("A", "a.jpg")] * 2
        (reject,) = rejects(records)
        assert reject.column == "title"
        assert reject.reason.startswith(said)

    @pytest.mark.parametrize(
        "title",
        [
            "<![CDATA[H&M &nbsp; < &#11; <b>]]>",
            "H&amp;M",
            "&#65;&#x41;",
            "<!-- & < -->T",
            "&lt;&gt;&quot;&apos;",
        ],
    )
    def test_is_not_found_in_valid_text(self, title: str) -> None:
        """CDATA, references, comments."""
        item = f"<item><g:id>B</g:id><title>{title}</title><g:image_link>b.jpg</g:image_link></item>"
        assert named(read(f"{RSS}{item}{END}")) == [("B", "b.jpg")]

    def test_costs_no_more_for_many(self) -> None:
        """A million of them in one item end at the limit, at once."""
        begun = time.process_time()
        _, message = failure(f"{RSS}<item><title>{'a&' * 1_000_000}</title></item>{END}")
        assert "has an item or a tag of more than" in message
        assert time.process_time() - begun < 10


class TestAnElementWithALongName:
    def test_is_not_repeated_for_all_nested_elements(self) -> None:
        """Named by their paths, the texts of one item would take gigabytes."""
        long = "A" * 100_000
        inside = "".join(f"<b{number}>x</b{number}>" for number in range(100))
        _, text = failure(f"<rss><channel><item><{long}>{inside}</{long}></item></channel></rss>")
        assert "an item or a tag of more than 1,048,576 characters in line 1" in text
