import gzip
import tracemalloc
import zlib

import pytest

from tests.cutout.manifests.records import endless_failure, export, failure, named, opened, read

TEXT = b"external_id,source\n" + b"".join(b"SKU-%d,%d.jpg\n" % (number, number) for number in range(20_000))


def endless_gzip(start: bytes, piece: bytes) -> tuple[bytes, bytes]:
    """The start of a gzip file, and compressed data that can be repeated without end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    return head, packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)


class TestGzip:
    @pytest.mark.parametrize(
        "name", ["catalog.ndjson", "google_feed.xml", "excel_unicode_text.txt", "shopify_products_export.csv"]
    )
    def test_is_unpacked_in_every_format(self, name: str) -> None:
        """Gzip is recognised by its first bytes."""
        content = export(name)
        assert opened(gzip.compress(content)).kind == opened(content).kind
        assert read(gzip.compress(content)) == read(content)

    def test_may_have_several_members_and_zeros_behind(self) -> None:
        """`cat a.gz b.gz` makes members, and tapes pad with zeros."""
        content = (
            gzip.compress(TEXT[:100_000]) + gzip.compress(b"") + gzip.compress(TEXT[100_000:]) + b"\0" * 512
        )
        assert len(read(content)) == 20_000

    def test_that_is_truncated_is_an_error(self) -> None:
        """The content before the end is read."""
        packed = gzip.compress(TEXT)
        records, message = failure(packed[: len(packed) // 2])
        assert 1000 < len(records) < 20_000
        assert message == "list.csv is truncated: its gzip data end too early; copy or export it again"

    @pytest.mark.parametrize("place", [3, -6])
    def test_that_is_damaged_is_an_error(self, place: int) -> None:
        """In its header or at its checksum."""
        packed = bytearray(gzip.compress(TEXT))
        packed[place] ^= 0xFF
        assert "list.csv is damaged: its gzip data cannot be unpacked" in failure(bytes(packed))[1]

    def test_of_gzip_is_refused(self) -> None:
        """Double compression is a mistake."""
        assert "gzipped twice" in failure(gzip.compress(gzip.compress(TEXT)))[1]

    def test_with_trailing_bytes_is_an_error(self) -> None:
        """The rest may be a part of the catalog."""
        records, message = failure(gzip.compress(TEXT) + b"more rows")
        assert len(records) == 20_000
        assert "list.csv is damaged" in message

    def test_of_endless_tiny_members_is_an_error(self) -> None:
        """Each member costs more than its bytes."""
        packed = gzip.compress(TEXT) + gzip.compress(b"") * 20_000
        assert "gzip members in" in failure(packed)[1]


class TestABomb:
    @pytest.mark.parametrize("piece", [b"x" * 50_000_000, b"\0" * 50_000_000])
    def test_stops_at_a_megabyte_unpacked(self, piece: bytes) -> None:
        """A few kilobytes that unpack to terabytes are unpacked only up to the limit of a record."""
        taken, message = endless_failure(*endless_gzip(b"external_id,source\nA,a.jpg\n", piece))
        assert taken < 200_000
        assert "line 3 of list.csv has more than 1,048,576 characters" in message

    def test_is_unpacked_piece_by_piece(self) -> None:
        """Forty megabytes in one compressed chunk are never in memory together."""
        packed = gzip.compress(b"external_id,source\n" + (b" " * 60_000 + b"\n") * 650)
        tracemalloc.start()
        try:
            assert read(packed) == []
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    def test_gives_the_rows_before_it(self) -> None:
        """The limit is on a record, not on the file."""
        records, message = failure(gzip.compress(TEXT + b"x" * 5_000_000))
        assert named(records)[-1] == ("SKU-19999", "19999.jpg")
        assert "line 20002" in message


class TestAFileThatIsNoText:
    @pytest.mark.parametrize(
        ("start", "kind"),
        [
            (b"PK\x03\x04\x14\x00\x06\x00", "an Excel workbook; save the sheet as `CSV UTF-8`"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook; save the sheet as `CSV UTF-8`"),
            (b"%PDF-1.7\n", "a PDF"),
            (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a picture"),
            (b"\x89PNG\r\n\x1a\n", "a picture"),
            (b"\x28\xb5\x2f\xfd\x04", "packed with zstd"),
        ],
    )
    def test_is_named(self, start: bytes, kind: str) -> None:
        """The message has the remedy, compressed or not."""
        for content in (start + b"\0" * 100, gzip.compress(start + b"\0" * 100)):
            assert kind in failure(content)[1]
