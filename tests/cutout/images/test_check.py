"""Checks of which pictures are sent unchanged, and which are refused by their header."""

import io
import struct
import time
from pathlib import Path

import pytest
from PIL import Image

from cutout.images.image import prepare
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import (
    encoded,
    frames,
    noise,
    picture,
    png,
    png_chunk,
    saved,
    turned_by_exif,
)
from tests.support.machine import scaled

PHOTOS = sorted((Path(__file__).parents[3] / "photos").glob("*.jpg"))


def code_of(source: bytes) -> str:
    with pytest.raises(UnfitImage) as unfit:
        prepare(source)
    assert unfit.value.message == str(unfit.value)
    return unfit.value.code


class TestSentUnchanged:
    @pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
    def test_a_photo(self, photo: Path) -> None:
        """An ordinary photo is returned unchanged, as the same object."""
        source = photo.read_bytes()
        prepared = prepare(source)
        assert prepared.data is source
        assert (prepared.media_type, prepared.file_name, prepared.changes) == ("image/jpeg", "image.jpg", ())
        with Image.open(photo) as image:
            assert (prepared.width, prepared.height) == image.size

    @pytest.mark.parametrize(
        ("source", "media_type", "file_name"),
        [
            (encoded("PNG"), "image/png", "image.png"),
            (encoded("PNG", "RGBA"), "image/png", "image.png"),
            (encoded("BMP"), "image/bmp", "image.bmp"),
            (encoded("JPEG", progressive=True), "image/jpeg", "image.jpg"),
            (encoded("JPEG", size=(1999, 33)), "image/jpeg", "image.jpg"),
            (turned_by_exif(1), "image/jpeg", "image.jpg"),
            (turned_by_exif(1, "PNG"), "image/png", "image.png"),
        ],
        ids=[
            "PNG",
            "PNG with alpha",
            "BMP",
            "progressive JPEG",
            "largest and smallest side",
            "upright",
            "upright PNG",
        ],
    )
    def test_whatever_is_surely_accepted(self, source: bytes, media_type: str, file_name: str) -> None:
        """8-bit RGB and RGBA inside the limits are returned unchanged, with a matching name."""
        prepared = prepare(source)
        assert prepared.data is source
        assert (prepared.media_type, prepared.file_name) == (media_type, file_name)

    def test_cheaply(self) -> None:
        """A 300 KB photo costs well under a millisecond of CPU: its pixels are not decoded."""
        source = saved(noise((700, 500)), "JPEG", quality=92)
        assert 250_000 < len(source) < 400_000
        assert min(_cpu_ms(source) for _ in range(20)) < 1.0


def _cpu_ms(source: bytes) -> float:
    began = time.thread_time()
    prepare(source)
    return (time.thread_time() - began) * 1000


class TestRefused:
    @pytest.mark.parametrize(
        ("source", "code"),
        [
            (b"", "IMAGE_EMPTY"),
            (b"hello, world", "IMAGE_NOT_A_PICTURE"),
            (b"<!doctype html><title>404</title>", "IMAGE_IS_WEB_PAGE"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "IMAGE_FORMAT_UNSUPPORTED"),
            (b"\0\0\0\x18ftypheic" + bytes(50), "IMAGE_DAMAGED"),
            (b"\0\0\0\x18ftypavif" + bytes(50), "IMAGE_DAMAGED"),
            (b"8BPS" + bytes(50), "IMAGE_FORMAT_UNSUPPORTED"),
            (b"%PDF-1.7", "IMAGE_FORMAT_UNSUPPORTED"),
            (encoded("JPEG2000"), "IMAGE_FORMAT_UNSUPPORTED"),
            (encoded("ICO", "RGBA"), "IMAGE_FORMAT_UNSUPPORTED"),
            (encoded("JPEG")[:100], "IMAGE_TRUNCATED"),
            (encoded("PNG")[:20], "IMAGE_TRUNCATED"),
            (b"\xff\xd8\xff" + bytes(50), "IMAGE_DAMAGED"),
            (b"GIF89a", "IMAGE_DAMAGED"),
            (frames("GIF"), "IMAGE_ANIMATED"),
            (frames("WEBP"), "IMAGE_ANIMATED"),
            (frames("PNG"), "IMAGE_ANIMATED"),
            (encoded("PNG", size=(32, 100)), "IMAGE_TOO_SMALL"),
            (encoded("PNG", size=(5000, 40)), "IMAGE_TOO_SMALL"),
            (png(30_000, 30_000), "IMAGE_TOO_MANY_PIXELS"),
            (saved(Image.new("F", (64, 48)), "TIFF"), "IMAGE_FORMAT_UNSUPPORTED"),
        ],
        ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
    )
    def test_with_a_stable_code(self, source: bytes, code: str) -> None:
        """A picture that no fitting can fix is refused under a code of its own."""
        assert code_of(source) == code

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
    def test_when_it_is_truncated(self, kind: str) -> None:
        """A file without its second half is refused as truncated or damaged, in every format."""
        mode = "P" if kind == "GIF" else "RGB"
        image = noise((200, 150)).convert(mode) if kind == "GIF" else noise((200, 150))
        source = saved(image, kind)
        assert code_of(source[: len(source) // 2]) in ("IMAGE_TRUNCATED", "IMAGE_DAMAGED")

    def test_a_bomb_at_once(self) -> None:
        """30,000 by 30,000 pixels in a small file are refused by the header, before memory is allocated."""
        bomb = png(30_000, 30_000, rows=bytes(90_000_000))
        assert len(bomb) < 150_000
        began = time.monotonic()
        assert code_of(bomb) == "IMAGE_TOO_MANY_PIXELS"
        assert time.monotonic() - began < scaled(0.1)

    def test_with_the_value_and_the_remedy(self) -> None:
        """The message has the value found and the remedy."""
        with pytest.raises(UnfitImage, match=r"20x20 pixels.*33.*send a larger picture"):
            prepare(encoded("PNG", size=(20, 20)))


class TestFittedInstead:
    @pytest.mark.parametrize(
        "source",
        [
            encoded("JPEG", "L"),
            encoded("JPEG", "CMYK"),
            encoded("PNG", "P"),
            encoded("PNG", "L"),
            encoded("PNG", "LA"),
            encoded("PNG", "1"),
            encoded("PNG", "I;16"),
            encoded("PNG", transparency=(200, 40, 40)),
            png(40, 40, depth=16, rows=(b"\0" + bytes(240)) * 40),
            encoded("BMP", "L"),
            encoded("BMP", "RGBA"),
            encoded("WEBP"),
            encoded("TIFF"),
            encoded("GIF", "P"),
            encoded("JPEG", size=(2000, 100)),
            turned_by_exif(6),
            turned_by_exif(6, "PNG"),
            encoded("JPEG") + b"trailing bytes",
            saved(noise((1999, 1999)), "BMP"),
            saved(picture(), "MPO", save_all=True, append_images=[picture()]),
            saved(picture(), "TIFF", save_all=True, append_images=[picture()]),
        ],
        ids=[
            "grey JPEG",
            "CMYK",
            "palette",
            "grey",
            "grey with alpha",
            "one bit",
            "16-bit grey",
            "transparent colour",
            "16-bit RGB",
            "palette BMP",
            "32-bit BMP",
            "WEBP",
            "TIFF",
            "GIF",
            "2000 pixels",
            "turned JPEG",
            "turned PNG",
            "no end marker",
            "12 MB",
            "two views",
            "two pages",
        ],
    )
    def test_is_any_picture_that_the_endpoint_might_refuse(self, source: bytes) -> None:
        """The result of fitting can be sent unchanged, and lists the changes."""
        prepared = prepare(source)
        assert prepared.data != source
        assert prepared.changes
        assert prepare(prepared.data).data is prepared.data

    def test_is_a_png_that_lacks_only_its_end(self) -> None:
        """A PNG that lacks only its last chunk is fixed."""
        assert prepare(encoded("PNG")[:-12]).changes

    def test_is_a_png_turned_by_a_chunk_behind_its_pixels(self) -> None:
        """An orientation after the pixels is read too."""
        exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
        source = encoded("PNG")[:-12] + png_chunk(b"eXIf", exif) + png_chunk(b"IEND", b"")
        assert Image.open(io.BytesIO(prepare(source).data)).size == (48, 64)
