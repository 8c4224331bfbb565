import io
import tracemalloc
from collections.abc import Iterator
from typing import cast

import pytest

from cutout.manifests import ManifestError, open_manifest
from tests.cutout.manifests.records import endless_failure, failure, named, opened, read


class TestRecognising:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("external_id,source\n", "CSV manifest"),
            ("external_id\tsource\n", "TSV manifest"),
            ('\n  {"external_id": "A", "source": "a"}', "NDJSON manifest"),
            ("  <rss/>", "Google Merchant feed"),
            ("id\timage_link\n", "Google Merchant feed"),
            ("Handle,Image Src\n", "Shopify product export"),
            ("URL handle,Variant image URL\n", "Shopify product export"),
        ],
    )
    def test_goes_by_the_content(self, text: str, kind: str) -> None:
        """The file name is list.csv in all cases."""
        assert opened(text).kind == kind

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("sku,asin,picture,asin\n", ("asin", "asin (2)")),
            ('{"sku": "A", "picture": "a"}', None),
        ],
    )
    def test_knows_the_columns_that_are_kept(self, text: str, kept: tuple[str, ...] | None) -> None:
        """Not those of which a job's id and source are read, since no record keeps them."""
        columns = {"external_id": "sku", "source": "picture"}
        found = open_manifest(io.BytesIO(text.encode()), name="a.csv", columns=columns)
        assert found.kept_columns == kept

    def test_reads_no_further_than_it_must(self) -> None:
        """A fault below the header is raised while iterating, after the records before it."""
        manifest = opened('external_id,source\nA,a.jpg\nB,"b.jpg\n')
        assert named([next(iter(manifest))]) == [("A", "a.jpg")]
        with pytest.raises(ManifestError, match="line 3"):
            next(iter(manifest))

    def test_counts_blank_lines_above(self) -> None:
        """Line numbers are those of the file."""
        assert [record.line for record in read("\n\r\n  \nexternal_id,source\nA,a.jpg\n")] == [5]

    def test_keeps_an_empty_first_column(self) -> None:
        """A header may begin with its delimiter."""
        assert opened("\n\texternal_id\tsource\n").header == ("", "external_id", "source")


class TestAFileThatIsNoManifest:
    @pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf", b"\xff\xfe"])
    def test_may_be_empty(self, content: bytes) -> None:
        """No bytes, or only blanks or a byte order mark."""
        assert "list.csv is empty" in failure(content)[1]

    @pytest.mark.parametrize("text", ["sep=;\n", ",,,\n\n,,,\n"])
    def test_may_lack_a_header(self, text: str) -> None:
        """A separator line or empty cells only."""
        assert "has no line with the names of columns" in failure(text)[1]

    def test_may_have_a_broken_header(self) -> None:
        """A quote in the header is not doubled."""
        _, message = failure('external_id,"so"urce"\nA,a.jpg\n')
        assert message.startswith("the names of columns in line 1 of list.csv cannot be read: it has a quote")

    @pytest.mark.parametrize("order", ["le", "be"])
    def test_may_be_utf_16_without_its_mark(self, order: str) -> None:
        """The message names the option that reads it."""
        content = "external_id,source\nA,a.jpg\n".encode(f"utf-16-{order}")
        _, message = failure(content)
        assert f"looks like UTF-16 without its byte order mark; use `--encoding utf-16-{order}`" in message
        assert named(read(content, encoding=f"utf-16-{order}")) == [("A", "a.jpg")]

    def test_may_be_binary(self) -> None:
        """The first line has NUL bytes."""
        assert "is not text: its first line has NUL bytes" in failure(b"\x7fELF\x02\x01\0\0\0" * 20)[1]

    @pytest.mark.parametrize("piece", [b"x" * 65_536, b"\n" * 65_536, b"a," * 32_768, b'"' * 65_536])
    def test_may_have_five_gigabytes(self, piece: bytes) -> None:
        """Without a line end, or with nothing else, reading stops after little more than one megabyte."""
        taken, _ = endless_failure(b"", piece)
        assert taken < 1.3 * 1024**2


class TestStreaming:
    def test_takes_a_stream_that_gives_little_at_a_time(self) -> None:
        """A pipe may give a byte at a time."""

        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size or 1, 1))

        content = b"\xef\xbb\xbfexternal_id,source\r\n\xc3\x84,a.jpg\r\nB,b.jpg\r\n"
        assert named(list(open_manifest(Trickle(content), name="-"))) == [("Ä", "a.jpg"), ("B", "b.jpg")]

    @pytest.mark.long("reads two large manifests in processes of their own")
    def test_needs_the_same_memory_for_any_number_of_rows(self) -> None:
        """Two hundred thousand rows take no more than two thousand."""
        peaks = [peak_of(2_000), peak_of(200_000)]
        assert peaks[1] < peaks[0] + 200_000


class Rows(io.RawIOBase):
    """Rows generated while they are read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._pieces = self._make(count)

    def _make(self, count: int) -> Iterator[bytes]:
        yield b"external_id,source,colour\n"
        for start in range(0, count, 1000):
            yield b"".join(b"SKU-%d,%d.jpg,red\n" % (row, row) for row in range(start, start + 1000))

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        return next(self._pieces, b"")


def peak_of(count: int) -> int:
    """The peak of bytes in use while this number of rows is read."""
    tracemalloc.start()
    try:
        read_count = sum(1 for _ in open_manifest(cast("io.BytesIO", Rows(count)), name="list.csv"))
        assert read_count == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
