import pytest

from cutout.manifests import ManifestError
from cutout.manifests.decoding import decoded
from tests.cutout.manifests.records import failure, named, opened, read

TEXT = "external_id,source\nÄ-1,größe.jpg\n"


class TestTheMark:
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_gives_the_encoding(self, encoding: str) -> None:
        """The mark has precedence over the user's encoding, and is written back."""
        manifest = opened(TEXT.encode(encoding), encoding="latin-1")
        assert manifest.encoding == encoding
        assert manifest.header == ("external_id", "source")
        assert named(list(manifest)) == [("Ä-1", "größe.jpg")]

    def test_of_the_big_endian_is_known(self) -> None:
        """Both byte orders are recognised."""
        assert named(read(b"\xfe\xff" + TEXT.encode("utf-16-be"))) == [("Ä-1", "größe.jpg")]


class TestTheNamedEncoding:
    @pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac_roman", "UTF8", "utf-16-le"])
    def test_is_used(self, encoding: str) -> None:
        """Any of its names is accepted."""
        assert named(read(TEXT.encode(encoding), encoding=encoding)) == [("Ä-1", "größe.jpg")]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
    def test_must_give_the_byte_order(self, encoding: str) -> None:
        """This is required where there is no byte order mark."""
        _, message = failure(TEXT, encoding=encoding)
        remedy = f"use `{encoding}-le` or `{encoding}-be`"
        assert message == f"list.csv has no byte order mark of {encoding}; {remedy}"

    @pytest.mark.parametrize("encoding", ["klingon", "", "rot13", "zlib", "idna", "a\0b", "undefined", "ü"])
    def test_must_be_a_text_encoding(self, encoding: str) -> None:
        """Python also has codecs that are not text encodings."""
        _, message = failure(TEXT, encoding=encoding)
        assert message == (
            f"the encoding {encoding!r} is not known; use utf-8, utf-16, latin-1, cp1252 or the like"
        )


class TestAByteThatIsNotOfTheEncoding:
    def test_is_named_with_its_line_and_the_option(self) -> None:
        """The rows before it are read."""
        records, message = failure(b"external_id,source\nA,a.jpg\r\nB,b.jpg\rC,gr\xfc\xdfe.jpg\nD,d.jpg\n")
        assert named(records) == [("A", "a.jpg"), ("B", "b.jpg")]
        assert message == (
            "list.csv is not UTF-8: the byte 0xFC in line 4; save it again as `CSV UTF-8`, or give the"
            " encoding it was saved in, for instance `--encoding latin-1`"
        )

    def test_is_named_in_other_encodings(self) -> None:
        """Cp1252 has undefined bytes too; another encoding is proposed."""
        _, message = failure(b"external_id,source\nA,\x81.jpg\n", encoding="cp1252")
        assert "is not cp1252: the byte 0x81 in line 2" in message
        assert "`--encoding latin-1`" in message

    def test_may_be_right_after_the_mark(self) -> None:
        """The byte order mark is not part of the text before it."""
        manifest = opened(b"\xef\xbb\xbfexternal_id,source\nA,a.jpg\n\xfc,b.jpg\n")
        assert manifest.header[0] == "external_id"
        assert named([next(iter(manifest))]) == [("A", "a.jpg")]

    @pytest.mark.parametrize("text", ['{"external_id": "A", "source": "', "<rss><item><id>"])
    def test_is_named_in_every_format(self, text: str) -> None:
        """NDJSON and XML report it alike."""
        assert "is not UTF-8: the byte 0xE4 in line 1" in failure(text.encode() + b"\xe4")[1]

    @pytest.mark.parametrize("size", range(1, 8))
    def test_is_found_wherever_chunks_end(self, size: int) -> None:
        """A character may be split between two chunks, and the last one may be incomplete."""
        content = "a\nżółw\n".encode() + b"\xc5"
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        found: list[str] = []
        with pytest.raises(ManifestError, match="the byte 0xC5 in line 3"):
            found.extend(decoded(chunks, "utf-8", name="list.csv"))
        assert "".join(found) == "a\nżółw\n"
