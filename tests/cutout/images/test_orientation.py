"""Orientation by XMP, and by EXIF wherever a file stores it."""

import zlib
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.preparation.pictures import xmp_of
from cutout.images.image import prepare
from cutout.images.orientation import xmp_orientation
from tests.cutout.images.pictures import encoded, png_chunk

KEYWORD = b"XML:com.adobe.xmp"


def size_of(source: bytes) -> tuple[int, int]:
    prepared = prepare(source)
    return prepared.width, prepared.height


def with_xmp(kind: str, xmp: bytes, **options: Any) -> bytes:
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt(KEYWORD.decode(), xmp.decode())
        return encoded(kind, pnginfo=info, **options)
    if kind == "TIFF":
        return encoded(kind, tiffinfo={700: xmp}, **options)
    return encoded(kind, xmp=xmp, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
class TestXmp:
    @pytest.mark.parametrize("as_element", [False, True])
    @pytest.mark.parametrize("prefix", ["tiff", "t", "ns1"])
    def test_turns_a_picture_of_any_format(self, kind: str, prefix: str, *, as_element: bool) -> None:
        """A picture of 64x48 pixels with orientation 6 becomes 48x64, whatever the prefix."""
        assert size_of(with_xmp(kind, xmp_of(6, prefix, as_element=as_element))) == (48, 64)

    def test_that_is_upright_changes_nothing(self, kind: str) -> None:
        """Orientation 1, or none, leaves the picture unchanged."""
        assert size_of(with_xmp(kind, xmp_of(1))) == (64, 48)

    def test_gives_way_to_exif(self, kind: str) -> None:
        """EXIF has precedence and is applied once."""
        exif = Image.Exif()
        exif[0x0112] = 3
        if kind == "TIFF":
            source = encoded(kind, tiffinfo={700: xmp_of(6), 274: 3})
        else:
            source = with_xmp(kind, xmp_of(6), exif=exif)
        assert size_of(source) == (64, 48)


def test_xmp_is_read_as_programs_write_it() -> None:
    """Single quotes, blanks and UTF-16 are read; other namespaces and values are not."""
    assert xmp_orientation(b"<rdf:Description tiff:Orientation = '8'>") == 8
    assert xmp_orientation('<x tiff:Orientation="6"/>'.encode("utf-16")) == 6
    assert xmp_orientation(b'<x other:Orientation="6"/>') is None
    assert xmp_orientation(b'<x tiff:Orientation="9"/>') is None
    assert xmp_orientation(b"xmlns:a='http://ns.adobe.com/tiff/1.0/' " * 20_000) is None


class TestAPng:
    @pytest.mark.parametrize(
        "chunk",
        [
            png_chunk(b"iTXt", KEYWORD + b"\0\0\0\0\0" + xmp_of(6)),
            png_chunk(b"iTXt", KEYWORD + b"\0\1\0\0\0" + zlib.compress(xmp_of(6))),
            png_chunk(
                b"zTXt",
                b"Raw profile type exif\0\0"
                + zlib.compress(
                    b"\nexif\n      26\n"
                    + b"4949 2a00 0800 0000 0100 1201 0300 0100 0000 0600 0000 0000 0000".replace(b" ", b"")
                ),
            ),
        ],
        ids=["XMP", "packed XMP", "EXIF as ImageMagick writes it"],
    )
    @pytest.mark.parametrize("late", [False, True], ids=["before the pixels", "behind them"])
    def test_is_turned_by_each_kind_of_text(self, chunk: bytes, *, late: bool) -> None:
        """Before and after the pixels."""
        whole = encoded("PNG")
        at = len(whole) - 12 if late else 33
        assert size_of(whole[:at] + chunk + whole[at:]) == (48, 64)

    def test_with_other_text_goes_out_untouched(self) -> None:
        """A comment after the pixels is no reason to encode the picture again."""
        whole = encoded("PNG")
        source = (
            whole[:-12]
            + png_chunk(b"tEXt", b"Comment\0a shoe")
            + png_chunk(b"iTXt", KEYWORD + b"\0" * 5 + xmp_of(1))
        )
        source += whole[-12:]
        assert prepare(source).data is source


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it reads past
def test_exif_that_cannot_be_read_turns_nothing() -> None:
    """The picture is not rotated."""
    for kind in ("JPEG", "WEBP"):
        assert size_of(encoded(kind, exif=b"Exif\0\0II*\0\xff\xff\xff\xffnonsense")) == (64, 48)
