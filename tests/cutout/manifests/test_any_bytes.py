import contextlib
import csv
import gzip
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from cutout.manifests import ManifestError, open_manifest
from cutout.manifests.field_rules import external_id_fault, source_fault
from tests.cutout.manifests.records import EXPORTS, pictures, read

STARTS = [
    b"",
    b"external_id,source,note\n",
    b"external_id;source\r\n",
    b"id\timage_link\tadditional_image_link\n",
    b"Handle,Image Src,Image Position,Variant Image,Variant SKU\n",
    b'{"external_id": "A", "source": ',
    b'<rss xmlns:g="http://base.google.com/ns/1.0"><channel><item><g:id>',
    b'<?xml version="1.0" encoding="utf-16"?>',
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff\x00e",
    b"\xff\xfe\x00\x00",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
]
PIECES = [bytes([character]) for character in b'",;\t\n\r\0A{}[<>&:=\xff\xc5']
PIECES += [b"\\ud800", b"</", b"<item>", b"</item>", b"<![CDATA[", b"sep=;\n", b"1e999", b"NaN", b"null"]
ENCODINGS = [
    None,
    "utf-8",
    "latin-1",
    "cp1252",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "shift_jis",
    "gb18030",
    "big5",
]

CONTENTS = st.tuples(
    st.sampled_from(STARTS), st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=60)
).map(lambda parts: parts[0] + b"".join(parts[1]))

# Text that UTF-8 can encode.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


class TestAnyBytes:
    @settings(deadline=None, max_examples=600)
    @given(content=CONTENTS, encoding=st.sampled_from(ENCODINGS), packed=st.booleans())
    def test_are_read_or_refused(self, content: bytes, encoding: str | None, *, packed: bool) -> None:
        """Nothing but ManifestError is raised, and every record has its line and content."""
        stream = io.BytesIO(gzip.compress(content) if packed else content)
        with contextlib.suppress(ManifestError):
            last = 0
            for record in open_manifest(stream, name="x", encoding=encoding):
                assert record.line >= last
                last = record.line
                for picture in record.pictures:
                    assert external_id_fault(picture.external_id) is None
                    assert source_fault(picture.source) is None
                assert all(reject.reason and reject.line == record.line for reject in record.rejects)

    @settings(deadline=None, max_examples=300)
    @given(
        name=st.sampled_from(sorted(path.name for path in EXPORTS.iterdir() if path.name[0] != ".")),
        place=st.integers(0, 2000),
        change=st.binary(max_size=3),
        packed=st.booleans(),
    )
    def test_in_the_middle_of_an_export_are_read_or_refused(
        self, name: str, place: int, change: bytes, *, packed: bool
    ) -> None:
        """An export may be damaged at any offset, before or after compression."""
        content = (EXPORTS / name).read_bytes()
        if packed:
            content = gzip.compress(content)
        place %= len(content)
        with contextlib.suppress(ManifestError):
            list(open_manifest(io.BytesIO(content[:place] + change + content[place + 1 :]), name="x"))


class TestWhatTheCsvModuleWrites:
    @settings(deadline=None)
    @given(
        rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=8),
        delimiter=st.sampled_from(",;\t|"),
        end=st.sampled_from(["\n", "\r\n", "\r"]),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    )
    def test_comes_back(
        self, rows: list[tuple[str, str, str]], delimiter: str, end: str, encoding: str
    ) -> None:
        """Cells are equal to the letter, whatever they contain; only blank rows are skipped."""
        written = io.StringIO()
        # Before Python 3.13 the module quotes only the line ends that it writes.
        writer = csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("external_id", "source", "note"), *rows])
        expected = [row for row in rows if any(cell.strip() for cell in row)]
        assert [record.cells for record in read(written.getvalue().encode(encoding))] == expected

    @settings(deadline=None)
    @given(note=TEXTS.filter(bool))
    def test_is_metadata(self, note: str) -> None:
        """Any text in another column is stored with the picture unchanged."""
        written = io.StringIO()
        csv.writer(written).writerows([("external_id", "source", "note"), ("A", "a.jpg", note)])
        (picture,) = pictures(read(written.getvalue()))
        assert picture.metadata == {"note": note}
