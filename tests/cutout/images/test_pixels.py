"""Pictures without anything visible, and pictures with missing pixels."""

import struct
import time
import zlib

import pytest
from PIL import Image, ImageDraw

from cutout.images.image import prepare, refit
from cutout.images.jpeg import MOST_SCANS
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded, noise, png_chunk, saved
from tests.support.machine import scaled


def code_of(source: bytes) -> str | None:
    try:
        prepare(source)
    except UnfitImage as unfit:
        return unfit.code
    return None


def transparent(size: tuple[int, int], mode: str = "RGBA") -> Image.Image:
    image = noise(size).convert(mode)
    image.putalpha(0)
    return image


class TestAPictureWhollyTransparent:
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("size", [(300, 240), (37, 41), (2100, 60)])
    def test_is_refused(self, kind: str, size: tuple[int, int]) -> None:
        """Whatever colours are under it, inside the limits or beyond them."""
        options = {"exact": True, "lossless": True} if kind == "WEBP" else {}
        assert code_of(saved(transparent(size), kind, **options)) == "IMAGE_TRANSPARENT"

    @pytest.mark.parametrize(
        "source",
        [
            saved(transparent((60, 60), "LA"), "PNG"),
            saved(Image.new("P", (60, 60), 0), "PNG", transparency=0),
            saved(Image.new("P", (60, 60), 0), "GIF", transparency=0),
            saved(Image.new("RGB", (60, 60), "red"), "PNG", transparency=(255, 0, 0)),
            saved(Image.new("L", (60, 60), 7), "PNG", transparency=7),
        ],
        ids=["grey and alpha", "palette", "GIF", "a colour", "a grey"],
    )
    def test_by_other_means_is_refused(self, source: bytes) -> None:
        """A transparent palette entry or colour counts as alpha."""
        assert code_of(source) == "IMAGE_TRANSPARENT"

    @pytest.mark.parametrize("at", [(0, 0), (299, 239), (150, 100)])
    def test_but_for_one_pixel_is_sent_unchanged(self, at: tuple[int, int]) -> None:
        """Row filters do not hide the pixel, wherever it is."""
        image = transparent((300, 240))
        image.putpixel(at, (10, 200, 30, 1))
        source = saved(image, "PNG", optimize=True)
        assert prepare(source).data is source

    def test_is_detected_cheaply(self) -> None:
        """A picture with alpha costs little more than one without: its pixels are not decoded."""
        image = noise((1000, 700), "RGB")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        source = saved(image, "PNG")
        assert prepare(source).data is source
        assert min(_cpu_ms(source) for _ in range(20)) < 2.0


def _cpu_ms(source: bytes) -> float:
    began = time.thread_time()
    prepare(source)
    return (time.thread_time() - began) * 1000


@pytest.mark.parametrize("interlaced", [False, True])
def test_rows_of_an_interlaced_png_are_found(*, interlaced: bool) -> None:
    """The seven passes have rows of their own lengths."""
    width, height = 37, 35
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b""
    for left, top, right, down in passes if interlaced else [(0, 0, 1, 1)]:
        for _ in range(top, height, down):
            rows += b"\0" + b"\x09\x08\x07\0" * len(range(left, width, right))
    for alpha, code in ((0, "IMAGE_TRANSPARENT"), (9, None)):
        header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, int(interlaced))
        source = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
        source += png_chunk(b"IDAT", zlib.compress(rows[:-1] + bytes([alpha]))) + png_chunk(b"IEND", b"")
        assert code_of(source) == code


class TestAPictureWithoutPixels:
    def test_as_a_png_is_refused(self) -> None:
        """Headers alone are no picture."""
        whole = encoded("PNG")
        assert code_of(whole[:33] + whole[-12:]) == "IMAGE_TRUNCATED"

    def test_as_a_jpeg_is_refused(self) -> None:
        """A JPEG that ends after its header is not sent."""
        whole = encoded("JPEG", size=(2100, 600))
        at = whole.index(b"\xff\xda") + 14
        assert code_of(whole[:at] + b"\xff\xd9") == "IMAGE_TRUNCATED"


PHOTO = noise((2100, 700)).resize((2100, 700))
KINDS = {
    "baseline": saved(PHOTO, "JPEG", quality=80),
    "optimized": saved(PHOTO, "JPEG", quality=80, optimize=True),
    "restarts": saved(PHOTO, "JPEG", quality=80, restart_marker_rows=1),
    "grey": saved(PHOTO.convert("L"), "JPEG", quality=80),
    "CMYK": saved(PHOTO.convert("CMYK"), "JPEG", quality=80),
    "progressive": saved(PHOTO, "JPEG", quality=80, progressive=True),
}


class TestAJpegBrokenInTheMiddle:
    @pytest.mark.parametrize("kind", KINDS)
    def test_with_its_end_marker_is_refused_where_it_is_decoded(self, kind: str) -> None:
        """Grey in place of the lower half is not bought."""
        half = KINDS[kind][: len(KINDS[kind]) // 2]
        assert code_of(KINDS[kind]) is None
        assert code_of(half + b"\xff\xd9") in ("IMAGE_TRUNCATED", "IMAGE_DAMAGED")
        assert code_of(half + bytes(len(half)) + b"\xff\xd9") in ("IMAGE_TRUNCATED", "IMAGE_DAMAGED")

    @pytest.mark.parametrize("kind", ["baseline", "optimized", "grey", "CMYK", "restarts"])
    def test_of_which_a_piece_is_missing_is_refused(self, kind: str) -> None:
        """A transfer that lost a piece ends too early."""
        whole = KINDS[kind]
        middle = len(whole) // 2
        assert code_of(whole[:middle] + whole[middle + len(whole) // 8 :]) in (
            "IMAGE_TRUNCATED",
            "IMAGE_DAMAGED",
        )

    def test_is_refused_when_it_is_encoded_again(self) -> None:
        """A picture sent unchanged and refused by the endpoint is decoded then."""
        whole = saved(noise((600, 500)), "JPEG", quality=80)
        source = whole[: len(whole) // 2] + b"\xff\xd9"
        assert prepare(source).data is source
        with pytest.raises(UnfitImage, match=r"too early|incomplete"):
            refit(source)

    @pytest.mark.parametrize("colour", ["white", "black", (128, 128, 128)])
    @pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 100}])
    def test_is_not_a_plain_background(self, colour: object, options: dict[str, object]) -> None:
        """Grey below, or zeros in the file, may be the picture itself."""
        image = Image.new("RGB", (2100, 1500), colour)  # type: ignore[arg-type]
        ImageDraw.Draw(image).ellipse((500, 100, 1500, 600), fill="red")
        for mode in ("RGB", "L"):
            assert code_of(saved(image.convert(mode), "JPEG", **options)) is None

    def test_into_a_progressive_one_that_lacks_passes_is_not_sent_untouched(self) -> None:
        """The passes are counted without decoding."""
        whole = saved(noise((600, 500)), "JPEG", quality=80, progressive=True)
        assert prepare(whole).data is whole
        assert code_of(whole[: len(whole) // 2] + b"\xff\xd9") == "IMAGE_TRUNCATED"

    def test_of_very_many_passes_is_refused_at_once(self) -> None:
        """Each pass costs one over all pixels."""
        whole = saved(noise((600, 500)), "JPEG", quality=80, progressive=True)
        first = whole.index(b"\xff\xda")
        scan = whole[first : first + 14]
        source = whole[:first] + scan * (MOST_SCANS + 1) + whole[first:]
        began = time.monotonic()
        assert code_of(source) == "IMAGE_DAMAGED"
        assert time.monotonic() - began < scaled(0.5)


class TestAPngBrokenInTheMiddle:
    def test_is_not_sent_untouched(self) -> None:
        """The checksums of its chunks detect it, without decoding."""
        source = bytearray(saved(noise((200, 150)), "PNG"))
        source[len(source) // 2] ^= 1
        assert code_of(bytes(source)) == "IMAGE_DAMAGED"
